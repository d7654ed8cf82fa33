"""Reading traces: every layout gives the same events, damage costs only what it hit."""

import json
import random
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers import (
    trace_blocks,
    trace_bytes,
    trace_parts,
    trace_pieces,
    trace_reader,
)
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import (
    counts,
    event,
    flat,
    kernel,
    profiler_step,
    starved_steps,
    write_text,
    write_trace,
)


def test_reads_what_it_was_given(tmp_path: Path) -> None:
    trace = parse_trace(write_trace(tmp_path / "t.json", starved_steps(2)))

    assert counts(trace.events) == {"kernel": 2, "runtime": 2, "op": 2, "span": 4}
    first = trace.events["kernel"][0]
    assert trace.names[first["name"]] == "ampere_sgemm"
    assert (first["start_ns"], first["end_ns"]) == (68_000, 98_000)
    assert (first["correlation"], first["op_id"], first["device"]) == (500, 10, 0)
    assert first["blocks_per_sm"] == 0.5
    assert np.isnan(first["occupancy_percent"])
    assert (trace.num_events, trace.num_unread, trace.is_cut_short) == (10, 0, False)


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_layout_and_compression_do_not_matter(tmp_path: Path, indent: int, name: str) -> None:
    expected = flat(parse_trace(write_trace(tmp_path / "plain.json", starved_steps())))
    path = write_trace(tmp_path / name, starved_steps(), indent=indent)

    assert flat(parse_trace(path)) == expected


def test_a_bare_list_is_a_trace(tmp_path: Path) -> None:
    path = write_text(tmp_path / "t.json", json.dumps(starved_steps()))

    assert parse_trace(path).num_events == len(starved_steps())


def test_old_categories_and_numbers_in_quotes(tmp_path: Path) -> None:
    old = [
        event("Operator", "aten::mm", 10, 5),
        event("Runtime", "cudaLaunchKernel", 11, 1, correlation="7"),
        event("Kernel", "k", 12, 3, tid="stream 7", correlation="7", stream="7"),
        event("Memcpy", "Memcpy HtoD (Pageable -> Device)", 16, 1, bytes=4096),
    ]
    trace = parse_trace(write_trace(tmp_path / "t.json", old))

    assert counts(trace.events) == {"kernel": 1, "memcpy": 1, "runtime": 1, "op": 1}
    assert trace.events["kernel"]["correlation"][0] == trace.events["runtime"]["correlation"][0]
    assert trace.events["memcpy"]["num_bytes"][0] == 4096


def test_nanosecond_clocks_are_recognised(tmp_path: Path) -> None:
    start = 1_700_000_000_000_000_000
    events = [event("cpu_op", "a", start, 5000), event("cpu_op", "b", start + 9000, 1000)]
    trace = parse_trace(write_trace(tmp_path / "t.json", events))

    assert trace.events["op"]["start_ns"].tolist() == [0, 9000]


def test_fields_before_and_after_the_events(tmp_path: Path) -> None:
    listed = json.dumps(starved_steps())
    text = (
        '{"deviceProperties": [{"name": "H100", "numSms": 132}], "traceEvents": '
        f'{listed}, "distributedInfo": {{"rank": 3, "world_size": 8, "backend": "nccl"}}}}'
    )
    trace = parse_trace(write_text(tmp_path / "t.json", text))

    assert (trace.rank, trace.world_size) == (3, 8)
    assert trace.devices[0]["numSms"] == 132


def test_events_are_sorted_by_start_with_the_outer_one_first(tmp_path: Path) -> None:
    events = [
        event("cpu_op", "inner", 10, 5),
        event("cpu_op", "outer", 10, 50),
        event("cpu_op", "early", 1, 2),
    ]
    random.Random(0).shuffle(events)
    trace = parse_trace(write_trace(tmp_path / "t.json", events))

    assert trace.names_of(trace.events["op"]) == ["early", "outer", "inner"]


def test_rows_on_disk_are_the_rows_in_memory(tmp_path: Path) -> None:
    events = starved_steps(50)
    random.Random(1).shuffle(events)
    path = write_trace(tmp_path / "t.json", events)

    assert flat(parse_trace(path, spill_bytes=1)) == flat(parse_trace(path))


@given(cut=st.integers(min_value=1, max_value=2000), indent=st.sampled_from([None, 1]))
@settings(max_examples=40, deadline=None)
def test_a_trace_cut_anywhere_gives_its_whole_events(
    tmp_path_factory: pytest.TempPathFactory, cut: int, indent: int | None
) -> None:
    events = starved_steps()
    folder = tmp_path_factory.mktemp("cut")
    text = write_trace(folder / "whole.json", events, indent=indent).read_bytes()
    kept = text[: max(len(text) - cut, text.index(b"[") + 1)]
    trace = parse_trace(write_text(folder / "cut.json", kept))
    whole = flat(parse_trace(folder / "whole.json"))

    assert trace.num_unread == 0
    assert set(flat(trace)) <= set(whole)
    started = kept.count(b'"ph"')
    assert started - 1 <= trace.num_events <= started
    assert trace.is_cut_short == (b"]" not in kept[kept.rindex(b"}") if b"}" in kept else 0 :])


def test_a_damaged_gzip_gives_what_came_before(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json.gz", starved_steps(400))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    trace = parse_trace(path)

    assert trace.is_cut_short
    assert 0 < trace.num_events < len(starved_steps(400))


def test_several_processes_read_what_one_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [
        write_trace(tmp_path / "long.json", starved_steps(300)),
        write_trace(tmp_path / "packed.json.gz", starved_steps(200)),
        write_text(tmp_path / "none.json", "hello"),
        write_trace(tmp_path / "short.json", starved_steps(2)),
    ]
    monkeypatch.setattr(trace_parts, "PART_BYTES", 20_000)
    monkeypatch.setattr(trace_parts, "_WINDOWS_BYTES", (2000,))
    monkeypatch.setattr(trace_reader, "LONG_BYTES", 1)
    monkeypatch.setattr(trace_reader, "HELD_BYTES", 20_000)
    monkeypatch.setattr(trace_reader, "SMALL_SPILL_BYTES", 1)
    with trace_reader.TraceReader(paths) as reader:
        for path in paths:
            if path.name == "none.json":
                with pytest.raises(DiagnosticsError, match="is no trace"):
                    reader.read(path)
                continue
            together, alone = reader.read(path), parse_trace(path)
            assert flat(together) == flat(alone)
            assert together.tracks == alone.tracks


def test_a_process_that_is_killed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_bytes, "BLOCK_BYTES", 2000)

    class Broken(Executor):
        def submit(self, *_: object, **__: object) -> "Future[object]":  # type: ignore[override]
            raise BrokenExecutor

    path = write_trace(tmp_path / "t.json", starved_steps(300))
    with pytest.raises(DiagnosticsError, match="a process that read it was killed"):
        parse_trace(path, workers=trace_pieces.Workers(Broken(), 2))


def test_one_bad_event_costs_itself_alone(tmp_path: Path) -> None:
    good = [json.dumps(each) for each in starved_steps()]
    bad = '{"ph": "X", "cat": ["no"], "name": "x", "ts": 1, "dur": 1}'
    text = '{"traceEvents": [' + ", ".join([*good[:4], bad, *good[4:]]) + "]}"
    trace = parse_trace(write_text(tmp_path / "t.json", text))

    assert (trace.num_events, trace.num_unread) == (len(good), 1)
    assert "1 event is not valid JSON" in trace.notes[0]


def test_numbers_that_json_does_not_know_become_unknown(tmp_path: Path) -> None:
    text = (
        '{"traceEvents": [{"ph": "X", "cat": "kernel", "name": "inf nan", "ts": 1, "dur": 2, '
        '"args": {"bandwidth": inf, "est. achieved occupancy %": -nan}}]}'
    )
    trace = parse_trace(write_text(tmp_path / "t.json", text))

    assert trace.num_unread == 0
    assert trace.names_of(trace.events["kernel"]) == ["inf nan"]


def test_text_that_looks_like_a_boundary_is_no_boundary(tmp_path: Path) -> None:
    trap = '}, {"ph": "X", "cat": "cpu_op", "ts": 1, "dur": 1}, {"ph"'
    events = [event("cpu_op", f"{trap}{number}", number, 1) for number in range(20)]
    blocks = json.dumps({"traceEvents": events}).encode()
    text = trace_blocks.TraceText()
    chunks = (blocks[place : place + 97] for place in range(0, len(blocks), 97))
    path = write_text(tmp_path / "t.json", blocks)

    assert b"".join(text.bodies(chunks)).count(b'"pid"') == 20
    assert parse_trace(path).num_events == 20


@given(size=st.integers(min_value=1, max_value=400))
@settings(max_examples=40, deadline=None)
def test_where_blocks_end_does_not_matter(size: int) -> None:
    whole = json.dumps({"traceEvents": starved_steps(), "a": [{"b": 1}]}).encode()
    text = trace_blocks.TraceText()
    chunks = (whole[place : place + size] for place in range(0, len(whole), size))
    joined = b"".join(text.bodies(chunks)).strip(b", \n")

    assert json.loads(b"[" + joined + b"]") == starved_steps()
    assert not text.is_cut_short
    assert b'"a"' in text.tail


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{}", "no array of events"),
        ('{"a": 1', "no array of events"),
        ("hello", "no array of events"),
    ],
)
def test_what_is_no_trace_is_one_line(tmp_path: Path, text: str, word: str) -> None:
    path = write_text(tmp_path / "t.json", text)
    with pytest.raises(DiagnosticsError, match=word) as caught:
        parse_trace(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[]", '{"traceEvents": []}', '{"traceEvents": [', "[" + "[" * 9999]
)
def test_a_trace_without_an_event_is_read(tmp_path: Path, text: str) -> None:
    assert parse_trace(write_text(tmp_path / "t.json", text)).num_events == 0


def test_impossible_times_are_left_out_and_said(tmp_path: Path) -> None:
    events = [
        event("cpu_op", "good", 5, 1),
        event("cpu_op", "backwards", 5, -1),
        event("cpu_op", "endless", 5, 1e300),
        event("cpu_op", "nowhere", 1e200, 1),
    ]
    trace = parse_trace(write_trace(tmp_path / "t.json", events))

    assert trace.names_of(trace.events["op"]) == ["good"]
    assert trace.num_unread == 3
    assert "3 events have an impossible time" in trace.notes[0]


def test_markers_and_flows_are_counted_but_make_no_rows(tmp_path: Path) -> None:
    events = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}},
        {"ph": "s", "id": 1, "cat": "ac2g", "name": "ac2g", "ts": 1, "pid": 1, "tid": 1},
        profiler_step(1, 0, 10),
        *kernel("k", 1, 2, 3, 4),
    ]
    trace = parse_trace(write_trace(tmp_path / "t.json", events))

    assert trace.num_events == 5
    assert counts(trace.events) == {"kernel": 1, "runtime": 1, "span": 1}
