"""What kind a path is."""

import gzip
import os

import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.detect import detect
from tests.diagnostics.factories import log_lines, make_run, write_facts, write_lines

TRACE = b'{"schemaVersion": 1, "traceEvents": [{"ph": "X", "name": "a"}]}'


def write(path, content):
    path.write_bytes(content)
    return path


def test_each_kind(tmp_path):
    facts = write_facts(tmp_path / "profiles" / "run", make_run(2))
    assert detect(facts) == "facts folder"
    assert detect(facts / "steps.rank0.jsonl") == "facts folder"
    assert detect(facts / "meta.json") == "facts folder"
    assert detect(tmp_path / "profiles") == "folder of runs"
    assert detect(write_lines(tmp_path / "a.log", log_lines(make_run(2)))) == "text log"
    assert detect(write(tmp_path / "t.json", TRACE)) == "trace"
    assert detect(write(tmp_path / "list.json", b'[{"ph": "X"}]')) == "trace"
    assert detect(write(tmp_path / "t.json.gz", gzip.compress(TRACE))) == "trace"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.bin", b"\x00\x01\x02" * 100),
        ("random", bytes(range(128, 256)) * 10),
        ("notes.gz", gzip.compress(b"hello")),
        ("broken.gz", b"\x1f\x8b\x08broken"),
        ("utf16.log", "step 1/2".encode("utf-16")),
        ("alone.jsonl", b'{"kind": "step"}\n'),
    ],
)
def test_unknown(tmp_path, name, content):
    assert detect(write(tmp_path / name, content)) == "unknown"


def test_a_log_with_damaged_text_is_still_one(tmp_path):
    text = "step 1/2 | loss=0.1 ⚠️ 前向传播\n".encode() * 20
    assert detect(write(tmp_path / "a.log", text.replace("⚠".encode(), b"\xe2\x9a"))) == "text log"
    assert detect(write(tmp_path / "braces.log", b"{not json} step 1/2\n")) == "text log"


def test_a_log_with_nuls_of_a_crash_in_it_is_still_one(tmp_path):
    text = b"step 1/2 | loss=0.1\n"
    assert detect(write(tmp_path / "a.log", text + b"\0" * 5000 + text)) == "text log"
    assert detect(write(tmp_path / "b.log", b"\0" * 5000)) == "unknown"


def test_what_cannot_be_read_is_one_clear_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "none").mkdir()
    cases = {
        "gone": "does not exist",
        "pipe": "neither a plain file nor a folder",
        "none": "holds no run",
        write(tmp_path / "empty.log", b"").name: "is empty",
        "nul\0": "does not exist|cannot read",
    }
    for name, said in cases.items():
        with pytest.raises(DiagnosticsError, match=said):
            detect(tmp_path / name)
