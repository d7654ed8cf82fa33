"""What a redacted run must not tell, and what redaction must leave whole."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrtspike.profiling import trace_compressor
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.redaction import host_label, redact_value, trace_redaction
from vrtspike.profiling.settings import ProfilingConfig

PLAN = ProfilingConfig(wait=0, warmup=0, active=1, with_stack=True, resources=False)
SECRETS = ("ann-pc", "home of ann", "/home", "/tmp/")
ODD_TEXT = st.text(alphabet="ab/\\\"\n' (1):~é", max_size=20)


def rewritten(value):
    """A trace with `value` in it, after redaction; still JSON."""
    lines = json.dumps({"name": value, "next": 1}, indent=1).encode()
    return json.loads(trace_redaction("host-1")(lines))["name"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/data/ann", "<path>"),
        ("/data/ann's code/a.py(12): forward", "<path>(12): forward"),
        ("/data/ann/a.py(1): f;/data/ann/b.py(2): g", "<path>(1): f;<path>(2): g"),
        ("no space: '/data/ann/x.json'", "no space: '<path>'"),
        ("failed\n/data/ann/x\nthen", "failed\n<path>\nthen"),
        ('say "/data/ann/x" twice', 'say "<path>" twice'),
        ("/data/ann\\", "<path>"),
        ("PATH=/data/ann:/tmp/x", "PATH=<path>:<path>"),
        ("file:///data/ann/x", "file:<path>"),
        ("/data/änn/x", "<path>"),
    ],
)
def test_absolute_paths_go_and_the_trace_stays_json(text, kept):
    assert rewritten(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "vrtspike/model/vrt.py(12): forward",
        "Torch-Compiled Region: 0/0",
        "https://example.org/a/b",
        "void at::native::k<float, 4>(int, a / b)",
        "./a ../b a/b",
        "//",
        "say \\",
        "",
    ],
)
def test_what_is_no_absolute_path_stays(text):
    assert rewritten(text) == text


@given(st.dictionaries(ODD_TEXT, ODD_TEXT), st.booleans())
def test_whatever_the_strings_a_trace_stays_json_of_as_many_values(values, is_ascii):
    # Strings cannot run into each other: a list keeps its length, and numbers stay.
    pairs = [[key, value, 7] for key, value in values.items()]
    lines = json.dumps(pairs, indent=1, ensure_ascii=is_ascii).encode()
    after = json.loads(trace_redaction("host-1")(lines))
    assert [len(pair) for pair in after] == [3] * len(pairs)
    assert all(pair[2] == 7 for pair in after)


def test_the_host_gets_its_label_even_where_its_name_is_odd():
    line = json.dumps({"host_name": 'ann"s pc'}).encode()
    assert json.loads(trace_redaction("host-1")(line)) == {"host_name": "host-1"}


def test_texts_of_events():
    assert (
        redact_value("[Errno 2] No such file: '/data/ann/x'") == "[Errno 2] No such file: '<path>'"
    )
    assert redact_value("~/x y") == "<path>"
    assert redact_value({"a": ["/x", 3, None]}) == {"a": ["<path>", 3, None]}


def test_no_path_slips_through_between_two_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_compressor, "BLOCK_BYTES", 7)
    plain, final = tmp_path / "plain", tmp_path / "final.gz"
    lines = [f'"name": "{"x" * n} /data/ann/{n}",\n' for n in range(40)]
    plain.write_text("".join(lines))
    trace_compressor.compress(plain, final, trace_redaction("host-1"))
    kept = gzip.decompress(final.read_bytes()).decode().splitlines()
    assert kept == [f'"name": "{"x" * n} <path>",' for n in range(40)]
    assert list(tmp_path.iterdir()) == [final]


def run_traced(new_recorder, folder, **fields):
    run = RunRecord(run_id="train_x", started_at="", status="running", **fields)
    with new_recorder(facts_dir=folder, settings=PLAN, profile=True, run=run) as recorder:
        recorder.begin_step(1)
        with recorder.phase("forward"):
            torch.zeros(1)
        recorder.end_step(micro_batches=1, samples=1)
        recorder.event("out_of_memory", reason="cannot write '/data/ann/x'")
        with recorder.span("checkpoint") as span:
            span.values["file"] = "/data/ann/last.pt"
    (path,) = folder.glob("*.pt.trace.json.gz")
    return path, gzip.decompress(path.read_bytes()).decode()


def test_a_redacted_run_leaves_no_host_and_no_absolute_path(new_recorder, tmp_path):
    folder = tmp_path / "home of ann" / "facts"
    label = host_label("ann-pc")
    path, trace = run_traced(new_recorder, folder, host=label, redacted=True)
    written = trace + (folder / "spans.rank0.jsonl").read_text()
    assert [secret for secret in (*SECRETS, str(tmp_path)) if secret in written] == []
    assert path.name.startswith(f"{label}_")
    assert json.loads(trace)["host_name"] == label
    assert json.loads(trace)["run_id"] == "train_x"
    assert len(json.loads(trace)["traceEvents"]) > 5


def test_without_redaction_nothing_is_changed(new_recorder, tmp_path):
    _, trace = run_traced(new_recorder, tmp_path / "facts", host="ann-pc")
    assert Path(json.loads(trace)["traceName"]).parent == tmp_path / "facts"
    assert "/data/ann/x" in (tmp_path / "facts" / "spans.rank0.jsonl").read_text()
