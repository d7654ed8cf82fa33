"""Whole lines or none, and a system that refuses to write never stops the caller."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from vrtspike.profiling.jsonl_writer import JsonlWriter, replace_file


def test_lines_are_appended_to_what_is_there(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"old":1}\n')
    writer = JsonlWriter(path)
    writer.write(['{"a":"é"}\n'])
    writer.close()
    assert path.read_text(encoding="utf-8") == '{"old":1}\n{"a":"é"}\n'
    assert writer.lost_lines == 0


def test_a_full_disk_is_said_once_and_counted(caplog):
    writer = JsonlWriter(Path("/dev/full"))
    for _ in range(3):
        writer.write(["{}\n"])
    assert writer.lost_lines == 3
    assert caplog.text.count("cannot record to /dev/full: [Errno 28]") == 1


def test_a_folder_that_is_missing_costs_the_lines_only(tmp_path, caplog):
    writer = JsonlWriter(tmp_path / "missing" / "a.jsonl")
    writer.write(["{}\n"])
    writer.close()
    assert writer.lost_lines == 1
    assert "cannot record to" in caplog.text


def test_a_file_size_limit_leaves_the_lines_before_it_whole(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "x" * 90}) + "\n"
    writer = JsonlWriter(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
        for _ in range(5):
            writer.write([line])
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    writer.write([line])
    assert writer.lost_lines == 3
    assert " of 103 bytes were written: the disk is full, or the file as large" in caplog.text
    lines = path.read_text().split("\n")
    assert [text + "\n" == line for text in lines] == [True, True, False, True, False]
    assert lines[-1] == ""


def test_lines_that_are_written_together_are_counted_one_by_one(tmp_path):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "x" * 90}) + "\n"
    writer = JsonlWriter(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
        writer.write([line] * 5)
        writer.write([line] * 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    writer.write([line, line])
    assert writer.lost_lines == 3 + 2
    lines = path.read_text().split("\n")
    assert [text + "\n" == line for text in lines] == [True, True, False, True, True, False]


KILLED = """
import sys
from pathlib import Path
from vrtspike.profiling.jsonl_writer import JsonlWriter
writer = JsonlWriter(Path(sys.argv[1]))
number = 0
while True:
    writer.write(['{"n":%d,"pad":"%s"}\\n' % (number, "x" * 3000)])
    number += 1
    if number == 200:
        print("ready", flush=True)
"""


def test_kill_9_leaves_whole_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    lines = path.read_bytes().split(b"\n")
    # The kernel may end a write between two pages: then the last line is cut, never another.
    rest = lines.pop()
    assert (b'{"n":%d,"pad":"%s"}' % (len(lines), b"x" * 3000)).startswith(rest)
    assert [json.loads(line)["n"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= 200


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, caplog):
    path = tmp_path / "meta.json"
    assert replace_file(path, "one")
    assert replace_file(path, "two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]
    assert not replace_file(tmp_path / "missing" / "meta.json", "three")
    assert "cannot write" in caplog.text


def test_a_folder_in_the_way_is_reported(tmp_path, caplog):
    (tmp_path / "meta.json").mkdir()
    assert not replace_file(tmp_path / "meta.json", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["meta.json"]
