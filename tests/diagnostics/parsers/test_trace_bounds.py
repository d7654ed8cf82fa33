"""Reading traces within bounds: rows on disk, rounds of joins, packed files, parts of a file."""

import gzip
import json
import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers import (
    trace_blocks,
    trace_bytes,
    trace_columns,
    trace_links,
    trace_parts,
    trace_store,
)
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import (
    event,
    flat,
    kernel,
    starved_steps,
    write_text,
    write_trace,
)


def test_launches_are_joined_in_several_rounds_as_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [each for n in range(300) for each in kernel(f"k{n}", 10 * n, 10 * n + 4, 3, n + 7)]
    events += [event("cuda_runtime", "again", 9000, 5, correlation=9)]
    events += [event("kernel", "lost", 9000, 1, correlation=5000)]
    random.Random(2).shuffle(events)
    path = write_trace(tmp_path / "t.json", events)
    at_once = parse_trace(path).events["kernel"]
    monkeypatch.setattr(trace_links, "ROUND_ROWS", 40)
    monkeypatch.setattr(trace_links, "_CHUNK_ROWS", 7)
    in_rounds = parse_trace(path).events["kernel"]

    known = at_once[at_once["launch_track"] >= 0]
    assert len(known) == 300
    assert ((known["start_ns"] - known["launch_ns"]) == 4000).all()
    assert ((known["launch_end_ns"] - known["launch_ns"]) == 2000).all()
    assert in_rounds.tobytes() == at_once.tobytes()


@pytest.mark.parametrize("times", ["spread", "equal", "in order"])
def test_rows_on_disk_are_merged_in_bounded_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: str
) -> None:
    chance = random.Random(3)
    starts = [chance.randrange(900) for _ in range(1000)]
    if times == "equal":
        starts = [at // 450 for at in starts]
    elif times == "in order":
        starts.sort()
    events = [event("cpu_op", f"o{n}", at, chance.randrange(50)) for n, at in enumerate(starts)]
    path = write_trace(tmp_path / "t.json", events)
    monkeypatch.setattr(trace_bytes, "BLOCK_BYTES", 4000)
    expected = parse_trace(path)
    monkeypatch.setattr(trace_store, "MERGED_ROWS", 60)
    monkeypatch.setattr(trace_store, "_SAMPLED_ROWS", 8)
    found = parse_trace(path, spill_bytes=2000)

    assert found.events["op"]["start_ns"].tolist() == expected.events["op"]["start_ns"].tolist()
    assert sorted(flat(found)) == sorted(flat(expected))
    if times != "equal":
        assert found.events["op"]["end_ns"].tolist() == expected.events["op"]["end_ns"].tolist()


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trace_store.tempfile, "TemporaryFile", full)
    with pytest.raises(DiagnosticsError, match="No space left on device; TMPDIR"):
        parse_trace(write_trace(tmp_path / "t.json", starved_steps()), spill_bytes=1)


def test_members_of_a_gzip_file_are_read_one_after_the_other(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": starved_steps(40)}).encode()
    cuts = [0, 10, 11, 4000, len(text)]
    members = b"".join(gzip.compress(text[a:b]) for a, b in pairwise(cuts))
    path = tmp_path / "t.json.gz"
    path.write_bytes(members + b"\0" * 100)
    trace = parse_trace(path)

    assert trace.num_events == len(starved_steps(40))
    assert not trace.is_cut_short


@pytest.mark.parametrize("read_bytes", [2, 3, 1000])
def test_where_reads_of_a_gzip_file_end_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    text = json.dumps(starved_steps(2)).encode()
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(text[:500]) + gzip.compress(text[500:]))
    monkeypatch.setattr(trace_bytes, "_READ_BYTES", read_bytes)
    monkeypatch.setattr(trace_bytes, "BLOCK_BYTES", 64)
    trace = parse_trace(path)

    assert trace.num_events == len(starved_steps(2))
    assert not trace.is_cut_short


def test_a_file_that_unpacks_without_end_is_read_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_bytes, "MIN_UNPACKED_BYTES", 1 << 20)
    path = write_text(tmp_path / "t.json.gz", b"[" + b"{}," * (2 << 20))
    trace = parse_trace(path)

    assert trace.num_events < 1 << 20
    assert trace.notes == (
        "it unpacks to more than 100 times its size, which no trace does: the rest was left out",
    )


def test_very_many_very_small_events_are_read_in_small_pieces() -> None:
    text = trace_blocks.TraceText()
    pieces = list(text.bodies(iter([b"[" + b"{}," * (2 << 20) + b"{}]"])))

    assert max(map(len, pieces)) <= trace_blocks.UNCERTAIN_BYTES
    assert b"".join(pieces).count(b"{") == (2 << 20) + 1
    assert not text.is_cut_short


def test_a_long_tail_is_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_bytes, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(trace_blocks, "UNCERTAIN_BYTES", 500)
    monkeypatch.setattr(trace_blocks, "MAX_EVENT_BYTES", 5000)
    monkeypatch.setattr(trace_blocks, "MAX_TAIL_BYTES", 3000)
    text = json.dumps({"traceEvents": starved_steps(), "notes": "x" * 20_000})
    trace = parse_trace(write_text(tmp_path / "t.json", text))

    assert trace.num_events == len(starved_steps())
    assert not trace.is_cut_short


def test_a_name_that_is_no_text_keeps_its_event(tmp_path: Path) -> None:
    text = json.dumps([event("cpu_op", "NAME", 1, 2)]).encode().replace(b"NAME", b"a\xff\xfeb")
    trace = parse_trace(write_text(tmp_path / "t.json", text))

    assert trace.names_of(trace.events["op"]) == ["a\ufffd\ufffdb"]
    assert trace.num_unread == 0


def test_the_time_of_a_marker_is_not_the_clock(tmp_path: Path) -> None:
    start = 1_700_000_000_000_000_000
    marker = {"ph": "M", "name": "process_name", "pid": 1, "ts": 0, "args": {"name": "python"}}
    events = [marker, event("cpu_op", "a", start, 5000)]
    trace = parse_trace(write_trace(tmp_path / "t.json", events))

    assert trace.events["op"]["end_ns"].tolist() == [5000]


def test_names_beyond_the_bound_share_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_columns, "MAX_NAMES_BYTES", 1000)
    events = [event("cpu_op", f"name {n}", n, 1) for n in range(100)]
    trace = parse_trace(write_trace(tmp_path / "t.json", events))

    assert 1 < len(trace.names) < 10
    assert len(trace.events["op"]) == 100
    assert "more names than are kept" in trace.notes[0]


def test_a_pipe_is_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    with pytest.raises(DiagnosticsError, match="no plain file"):
        parse_trace(path)


@pytest.mark.parametrize("windows", [(300,), (2000,), (8,)])
def test_parts_of_a_file_are_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: tuple[int, ...]
) -> None:
    monkeypatch.setattr(trace_parts, "PART_BYTES", 5000)
    monkeypatch.setattr(trace_parts, "_WINDOWS_BYTES", windows)
    path = write_trace(tmp_path / "t.json", starved_steps(60), indent=1, name="head")
    text = trace_blocks.TraceText()
    with trace_bytes.open_trace(path) as source:
        bodies = list(trace_parts.bodies_of(text, source, path))
    events = [each for body in bodies for each in json.loads(bytes(trace_parts.listed(body)))]

    assert events == starved_steps(60)
    assert b"head" in text.tail + text.head
    parts = [body for body in bodies if isinstance(body, trace_parts.FilePart)]
    assert bool(parts) == (windows != (8,))


def test_a_part_that_is_gone_costs_its_events(tmp_path: Path) -> None:
    path = write_text(tmp_path / "t.json", b'[{"ph": "X"},\n')
    assert bytes(trace_parts.FilePart(path, 1, 14).listed()) == b'[{"ph": "X"}]'
    assert bytes(trace_parts.FilePart(path, 9000, 9100).listed()) == b"[]"
