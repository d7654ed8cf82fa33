"""How the steps of a trace are found: the surest mark that it has."""

from pathlib import Path

import pytest

from diagnostics.analyses.trace_names import STEP_RANGE
from diagnostics.analyses.trace_steps import TraceSteps, find_steps
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import EventDict, event, kernel, profiler_step, write_trace


def steps_of(tmp_path: Path, events: list[EventDict]) -> TraceSteps:
    return find_steps(parse_trace(write_trace(tmp_path / "t.json", events)))


def ranges(name: str, count: int = 4, dur: float = 90) -> list[EventDict]:
    return [event("user_annotation", name.format(n), 100.0 * n, dur) for n in range(count)]


@pytest.mark.parametrize(
    "name",
    ["step", "step 12", "train_step", "## train_step ##", "iteration#3", "Iter 7", "step_4",
     "[pl][profile]run_training_batch"],
)  # fmt: skip
def test_ranges_around_a_step(name: str) -> None:
    assert STEP_RANGE.search(name)


@pytest.mark.parametrize("name", ["stepping", "optimizer.step", "forward", "first step of all"])
def test_other_ranges_are_no_steps(name: str) -> None:
    assert not STEP_RANGE.search(name)


def test_the_chain_takes_the_surest_mark(tmp_path: Path) -> None:
    optimizer = ranges("Optimizer.step#AdamW.step", dur=10)
    own = ranges("train_step {}")
    marked = [profiler_step(n + 3, 100.0 * n, 95) for n in range(2)]

    assert steps_of(tmp_path, [*optimizer, *own, *marked]).mark == "ProfilerStep"
    by_range = steps_of(tmp_path, [*optimizer, *own])
    assert (by_range.mark, by_range.numbers.tolist()) == ("range", [0, 1, 2, 3])
    assert (by_range.host_end_ns - by_range.start_ns).tolist() == [90_000] * 4
    assert steps_of(tmp_path, optimizer).mark == "optimizer step"


def test_a_range_within_a_step_is_no_step_of_its_own(tmp_path: Path) -> None:
    inner = [event("user_annotation", "step", 100.0 * n + 10, 20) for n in range(4)]

    assert steps_of(tmp_path, [*ranges("step"), *inner]).count == 4


def test_without_a_mark_the_window_is_the_whole_trace(tmp_path: Path) -> None:
    found = steps_of(tmp_path, [event("cpu_op", "aten::mm", 5, 10), *kernel("k", 20, 25, 30, 1)])

    assert (found.mark, found.count) == ("none", 0)
    assert found.window.total_ns == 50_000


def test_a_trace_without_an_event_has_no_window(tmp_path: Path) -> None:
    found = steps_of(tmp_path, [])

    assert (found.mark, found.count, found.window.total_ns) == ("none", 0, 0)
