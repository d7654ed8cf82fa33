"""Damaged traces: a report or one line that says why not, never a traceback.

`VRTSPIKE_FUZZ_CASES` sets how many; a failing one is named by its seed.
"""

import gzip
import json
import os
import random
from contextlib import suppress

import pytest

from analyze_performance import main
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_idle import MAX_LAUNCHING_TRACKS
from diagnostics.analyses.trace_tables import with_trace_tables
from diagnostics.command_line import run_tool
from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from diagnostics.parsers.trace_blocks import exact_spans
from diagnostics.parsers.trace_columns import MAX_NAME
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.mutations import damaged_bytes, damaged_record
from tests.diagnostics.trace_factory import (
    event,
    kernel,
    profiler_step,
    starved_steps,
    write_text,
    write_trace,
)

NUM_CASES = int(os.environ.get("VRTSPIKE_FUZZ_CASES", "300"))
NUM_REPORTS = NUM_CASES // 10
FIELDS = {
    "distributedInfo": {"rank": 0, "world_size": 2, "backend": "nccl"},
    "deviceProperties": [{"name": "H100", "totalGlobalMem": 80 << 30, "computeMajor": 9}],
}


def whole_trace():
    events = starved_steps(4)
    events += [
        event("python_function", "train.py(3): train", 1000, 300),
        event("cuda_runtime", "cudaMemcpyAsync", 1005, 5, correlation=900),
        event("gpu_memcpy", "Memcpy HtoD", 1010, 9, tid=7, correlation=900, device=0, bytes=1000),
        event("kernel", "ncclDevKernel_AllReduce", 1190, 30, tid=9, correlation=901, device=0),
        event("overhead", "Activity Buffer Request", 1020, 3),
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}},
    ]
    return {"schemaVersion": 1, **FIELDS, "traceEvents": events}


def damaged_trace(seed, folder):
    chance = random.Random(seed)
    trace = whole_trace()
    if chance.random() < 0.5:
        for _ in range(chance.choice((1, 3, 20))):
            place = chance.randrange(len(trace["traceEvents"]))
            trace["traceEvents"][place] = damaged_record(trace["traceEvents"][place], chance)
        fields = damaged_record(FIELDS, chance)
        trace |= fields if isinstance(fields, dict) else {}
        text = json.dumps(trace, ensure_ascii=chance.random() < 0.5)
        content = text.encode("utf-8", "surrogatepass")
    else:
        indent = chance.choice((None, 1))
        content = damaged_bytes(json.dumps(trace, indent=indent).encode(), chance)
    if chance.random() < 0.3:
        content = gzip.compress(content)
        content = damaged_bytes(content, chance) if chance.random() < 0.5 else content
    path = folder / "damaged.json"
    path.write_bytes(content)
    return path


def test_damaged_traces_are_read_or_refused(tmp_path):
    for seed in range(NUM_CASES):
        path = damaged_trace(seed, tmp_path)
        with suppress(DiagnosticsError):
            analysis = analyse_trace(parse_trace(path))
            found = analysis.breakdown
            assert found is None or sum(part.ns for part in found.partition) == found.window_ns


def test_reports_of_damaged_traces(tmp_path, capsys):
    for seed in range(NUM_REPORTS):
        path = damaged_trace(1_000_000 + seed, tmp_path)
        code = run_tool("tool", lambda _, path=path: main([str(path)]))
        said = capsys.readouterr()
        assert code in (0, 2, 3), seed
        assert "Traceback" not in said.err, seed
        assert said.err.count("\n") <= 1, seed


@pytest.mark.parametrize("number", [10**10, 2**63, 10**400, -1, 1.5, "0"])
def test_a_rank_that_is_none(tmp_path, number):
    distributed = {"rank": number, "world_size": number}
    path = write_trace(tmp_path / "a.json", starved_steps(), distributedInfo=distributed)
    run = load_run([path])
    run = with_trace_tables(run, [analyse_trace(trace) for trace in run.traces])
    assert run.traces[0].rank is None
    assert run.traces[0].world_size is None
    assert set(run.tables.steps["rank"]) == {0}


@pytest.mark.parametrize("time", [2**63, -(2**63) - 1, 10**30])
def test_a_time_that_no_clock_has(tmp_path, time):
    events = [profiler_step(0, 900, 50), profiler_step(0, time, 5), *starved_steps()]
    path = write_trace(tmp_path / "a.json", events)
    assert parse_trace(path).num_unread == 1
    path = write_trace(tmp_path / "b.json", [profiler_step(0, time, 5), *starved_steps()])
    parse_trace(path)


def test_a_string_without_an_end_is_looked_at_once():
    text = b'{"a": 1}, {"' + b'\\"' * 300_000 + b"\\"
    assert exact_spans(text) == ([(0, 8)], 8)


def test_a_name_is_kept_to_its_bound(tmp_path):
    path = write_trace(tmp_path / "a.json", [event("cpu_op", "o" * 10**6, 0, 1)])
    assert parse_trace(path).names == ["o" * MAX_NAME]


def test_idle_time_of_launching_threads_beyond_the_bound_has_no_cause(tmp_path):
    many = MAX_LAUNCHING_TRACKS + 10
    events = [profiler_step(1, 0, 10 * many)]
    for number in range(many):
        launch, work = kernel("k", 10 * number, 10 * number + 5, 5, number)
        events += [{**launch, "tid": number}, work]
    analysis = analyse_trace(parse_trace(write_trace(tmp_path / "a.json", events)))
    gaps = {cause.cause: cause.num_gaps for cause in analysis.idle_causes}
    assert gaps["unattributed"] >= 10
    shares = sum(cause.share_of_window for cause in analysis.idle_causes)
    assert shares == pytest.approx(analysis.breakdown.idle_share)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[1,2,3]", "{}", '[{"ph":1}]'])
def test_events_that_are_none(tmp_path, text):
    path = write_text(tmp_path / "a.json", '{"traceEvents": [' + text)
    assert analyse_trace(parse_trace(path)).num_steps == 0
