"""The audit of a trace, each check from both sides: a sound trace, and one thing wrong with it."""

import numpy as np
import pytest

from diagnostics.analyses.audit import audit_run
from diagnostics.analyses.audit_limits import TRACE_LIMITS
from diagnostics.analyses.audit_trace import audit_trace
from diagnostics.analyses.audit_warm_up import warm_up
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.run import FACTS, Run, RunInfo, RunTables
from diagnostics.tables import STEPS
from tests.diagnostics.factories import phase_rows
from tests.diagnostics.trace_factory import STREAM, event, kernel, profiler_step, write_trace

STEP_US = 10_000
CHECKS = {
    "step_marks_missing", "step_marks_doubled", "device_events_dropped", "launches_missing",
    "host_spans_overlap", "device_spans_overlap", "kernels_before_launch", "unknown_kernels",
    "profiler_events", "warm_up_inside",
}  # fmt: skip


def step(number, at, *, long_us=STEP_US, num_kernels=10):
    """A step with kernels, each launched inside an operator and run 5 us later."""
    events = [profiler_step(number, at, long_us)]
    for place in range(num_kernels):
        launched = at + 100 + 100 * place
        correlation = 1000 * number + place
        events.append(event("cpu_op", "aten::mm", launched - 5, 20))
        events += kernel("ampere_sgemm", launched, launched + 5, 50, correlation)
    return events


def steps(numbers=range(1, 9), **options):
    return [each for place, n in enumerate(numbers) for each in step(n, STEP_US * place, **options)]


def audited(tmp_path, events, **fields):
    trace = parse_trace(write_trace(tmp_path / "t.json", events, **fields))
    return audit_trace(trace, find_steps(trace))


def doubt(audit, check):
    return next((each for each in audit.doubts if each.check == check), None)


def test_a_sound_trace_passes_every_check(tmp_path):
    audit = audited(tmp_path, steps())
    assert audit.doubts == ()
    assert set(audit.passed) == CHECKS


def test_nothing_is_said_of_steps_and_device_where_there_are_none(tmp_path):
    audit = audited(tmp_path, [event("cpu_op", "aten::mm", 10, 5)])
    assert audit.doubts == ()
    assert set(audit.passed) == {"host_spans_overlap", "profiler_events"}


@pytest.mark.parametrize(
    ("numbers", "grade", "missing"), [((1, 2, 4, 5, 6, 7, 8), "B", 1), ((1, 2, 9, 10), "C", 6)]
)
def test_missing_marks(tmp_path, numbers, grade, missing):
    found = doubt(audited(tmp_path, steps(numbers)), "step_marks_missing")
    assert (found.grade, found.values["missing"]) == (grade, missing)


def test_doubled_marks(tmp_path):
    found = doubt(audited(tmp_path, steps([1, 2, 3, 3, 4])), "step_marks_doubled")
    assert (found.grade, found.values["doubled"]) == ("C", 1)


def test_overlapping_marks(tmp_path):
    found = doubt(audited(tmp_path, steps(long_us=1.5 * STEP_US)), "step_marks_doubled")
    assert (found.grade, found.values["doubled"]) == ("D", 7)


@pytest.mark.parametrize(("lost", "grade"), [(0, None), (1, "B"), (5, "C"), (20, "D")])
def test_dropped_kernels(tmp_path, lost, grade):
    """Of 80 launches, those of the first step lose their kernels first."""
    events, dropped = [], 0
    for each in steps():
        if each["cat"] == "kernel" and dropped < lost:
            dropped += 1
            continue
        events.append(each)
    found = doubt(audited(tmp_path, events), "device_events_dropped")
    assert (found and found.grade) == grade
    if lost >= 10:
        assert found.values["worst_step"] == 1
        assert found.values["worst_share"] == 1.0


@pytest.mark.parametrize(("lost", "grade"), [(3, None), (4, "B"), (40, "C")])
def test_kernels_without_a_launch(tmp_path, lost, grade):
    events = steps()
    launches = [each for each in events if each["cat"] == "cuda_runtime"]
    kept = [each for each in events if each not in launches[:lost]]
    found = doubt(audited(tmp_path, kept), "launches_missing")
    assert (found and found.grade) == grade


@pytest.mark.parametrize(("early", "grade"), [(0, None), (1, "C"), (8, "D")])
def test_kernels_before_their_launch(tmp_path, early, grade):
    events = steps()
    for each in [each for each in events if each["cat"] == "kernel"][:early]:
        each["ts"] -= 45
    found = doubt(audited(tmp_path, events), "kernels_before_launch")
    assert (found and found.grade) == grade
    if early:
        assert found.values["worst_us"] == pytest.approx(40)


@pytest.mark.parametrize(("by_us", "grade"), [(1, None), (30, "C")])
def test_calls_that_overlap_without_nesting(tmp_path, by_us, grade):
    """The operator's own end lies that much before the end of a range inside it."""
    crossing = [
        each
        for at in range(8)
        for each in (
            event("cpu_op", "aten::relu", STEP_US * at + 5000, 100),
            event("cpu_op", "aten::clamp", STEP_US * at + 5050, 50 + by_us),
        )
    ]
    found = doubt(audited(tmp_path, [*steps(), *crossing]), "host_spans_overlap")
    assert (found and found.grade) == grade


@pytest.mark.parametrize(("long_us", "grade"), [(50, None), (5000, "C")])
def test_work_of_a_stream_that_overlaps(tmp_path, long_us, grade):
    events = steps()
    next(each for each in events if each["cat"] == "kernel")["dur"] = long_us
    found = doubt(audited(tmp_path, events), "device_spans_overlap")
    assert (found and found.grade) == grade


@pytest.mark.parametrize(
    ("name", "grade"), [("void at::native::add", None), ("xyzzy", "C"), ("nvjet_hsh", None)]
)
def test_kernels_of_unknown_name(tmp_path, name, grade):
    events = steps()
    for each in events:
        if each["cat"] == "kernel":
            each["name"] = name
    found = doubt(audited(tmp_path, events), "unknown_kernels")
    assert (found and found.grade) == grade


@pytest.mark.parametrize(("us", "grade"), [(100, None), (300, "B"), (1500, "C")])
def test_the_profiler_s_own_time(tmp_path, us, grade):
    own = [event("overhead", "Activity Buffer", STEP_US * n + 6000, us) for n in range(8)]
    audit = audited(tmp_path, [*steps(), *own])
    found = doubt(audit, "profiler_overhead")
    assert (found and found.grade) == grade
    assert "profiler_events" not in audit.passed, "what is measured is not estimated, too"


def test_the_profiler_s_time_is_estimated_from_the_events(tmp_path):
    many = [event("cpu_op", "aten::view", 5000 + n / 10, 0.05) for n in range(40_000)]
    found = doubt(audited(tmp_path, [*steps(), *many]), "profiler_events")
    assert (found.grade, found.value) == ("B", pytest.approx(40_240 * 0.3e-6 / 80e-3, rel=0.05))


@pytest.mark.parametrize(("slow", "grade"), [(1.4, None), (1.6, "B"), (4.0, "C")])
def test_warm_up_inside(tmp_path, slow, grade):
    events = step(1, -STEP_US * slow, long_us=STEP_US * slow) + steps(range(2, 9))
    found = doubt(audited(tmp_path, events), "warm_up_inside")
    assert (found and found.grade) == grade


def test_a_slow_last_step_is_no_warm_up():
    assert warm_up(np.array([10.0, 10.0, 10.0, 40.0])).num_steps == 0
    assert warm_up(np.array([40.0, 30.0, 10.0, 10.0, 10.0])).added_share == pytest.approx(1.0)
    assert warm_up(np.array([40.0, 10.0])) is None
    assert warm_up(np.zeros(5)) is None


def run_of(traces, info, **tables):
    analyses = tuple(analyse_trace(trace) for trace in traces)
    run = Run(inputs=(), info=info, evidence=FACTS, tables=RunTables(**tables), traces=traces)
    return audit_run(run, analyses, None)


def test_a_gpu_run_whose_trace_shows_none(tmp_path):
    info = RunInfo(device={"type": "cuda"})
    whole = parse_trace(write_trace(tmp_path / "a.json", steps()))
    assert doubt(run_of((whole,), info), "device_missing") is None
    on_host = [each for each in steps() if each["tid"] != STREAM and "runtime" not in each["cat"]]
    empty = parse_trace(write_trace(tmp_path / "b.json", on_host))
    assert doubt(run_of((empty,), info), "device_missing").grade == "D"
    assert doubt(run_of((empty,), RunInfo(device={"type": "cpu"})), "device_missing") is None


@pytest.mark.parametrize(("count", "grade"), [(8, None), (6, "B"), (4, "C")])
def test_ranks_with_different_numbers_of_steps(tmp_path, count, grade):
    paths = [
        write_trace(tmp_path / f"rank{rank}.json", steps(range(1, 1 + n)))
        for rank, n in ((0, 8), (1, count))
    ]
    audit = run_of(tuple(map(parse_trace, paths)), RunInfo())
    found = doubt(audit, "ranks_differ")
    assert (found and found.grade) == grade


@pytest.mark.parametrize(
    ("profiled_ms", "grade"), [(10.0, None), (9.5, None), (8.0, "B"), (25.0, "C")]
)
def test_a_profiled_step_takes_as_long_by_the_facts_as_by_the_trace(tmp_path, profiled_ms, grade):
    """Ordinary steps are left out: the profiler makes its own ones longer."""
    whole = parse_trace(write_trace(tmp_path / "a.json", steps()))
    facts = STEPS.from_records(
        {"rank": 0, "step": n, "num_steps": 1, "is_tagged": n > 20, "num_tagged": int(n > 20),
         "tags": "gc,profiled" if n > 20 else "", "clock": "host"}
        for n in range(1, 29)
    )  # fmt: skip
    times = [(0, n, "step", profiled_ms if n > 20 else 1.0) for n in range(1, 29)]
    audit = run_of((whole,), RunInfo(), steps=facts, phases=phase_rows(times))
    found = doubt(audit, "trace_against_facts")
    assert (found and found.grade) == grade


def test_steps_in_which_the_profiler_warmed_up_are_not_those_of_the_trace(tmp_path):
    whole = parse_trace(write_trace(tmp_path / "a.json", steps()))
    facts = STEPS.from_records(
        {"rank": 0, "step": n, "num_steps": 1, "is_tagged": True, "num_tagged": 1,
         "tags": "profiled", "clock": "host"}
        for n in range(1, 29)
    )  # fmt: skip
    times = [(0, n, "step", 10.0 if n > 20 else 3.0) for n in range(1, 29)]
    for kept, is_found in ((None, True), ((21, 28), False)):
        info = RunInfo(profiled_steps=kept)
        audit = run_of((whole,), info, steps=facts, phases=phase_rows(times))
        assert (doubt(audit, "trace_against_facts") is not None) == is_found


def test_one_rank_is_compared_with_nobody(tmp_path):
    whole = parse_trace(write_trace(tmp_path / "a.json", steps()))
    assert "ranks_differ" not in run_of((whole,), RunInfo()).passed
    assert "ranks_differ" in run_of((whole, whole), RunInfo()).passed


def test_every_limit_belongs_to_a_check_that_a_test_here_knows():
    elsewhere = {"device_missing", "ranks_differ", "trace_against_facts", "profiler_overhead"}
    assert set(TRACE_LIMITS) == CHECKS | elsewhere
