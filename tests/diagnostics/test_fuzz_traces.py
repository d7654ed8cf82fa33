"""Hostile traces, each one thing that once went wrong or could."""

import pytest

from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_idle import MAX_LAUNCHING_TRACKS
from diagnostics.analyses.trace_tables import with_trace_tables
from diagnostics.load import load_run
from diagnostics.parsers.trace_blocks import exact_spans
from diagnostics.parsers.trace_columns import MAX_NAME
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import (
    event,
    kernel,
    profiler_step,
    starved_steps,
    write_text,
    write_trace,
)


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
