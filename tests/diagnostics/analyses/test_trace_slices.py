"""A trace in slices says the same as the whole."""

import random
from pathlib import Path

import numpy as np
import pytest

from diagnostics.analyses import trace_breakdown, trace_slices
from diagnostics.analyses.trace_breakdown import break_down
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.trace import Trace
from tests.diagnostics.trace_factory import event, kernel, profiler_step, write_trace


def random_trace(folder: Path, seed: int) -> Trace:
    chance = random.Random(seed)
    events = [profiler_step(n, 1000 * n, chance.choice((900, 1000))) for n in range(1, 12)]
    for number in range(1500):
        at = chance.uniform(900, 12_500)
        events += [
            event("cpu_op", f"op{number % 7}", at, chance.uniform(0, 40)),
            *kernel("k", at, at + chance.uniform(0, 300), chance.uniform(0, 30), number),
        ]
    events.append(event("cpu_op", "very long", 1000, 9000, tid=3))
    events.append(event("user_annotation", "enumerate(DataLoader)#_It.__next__", 3990, 1700))
    chance.shuffle(events)
    return parse_trace(write_trace(folder / "t.json", events))


@pytest.mark.parametrize("seed", range(3))
def test_the_breakdown_in_slices_is_that_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    trace = random_trace(tmp_path, seed)
    steps = find_steps(trace)
    whole = break_down(trace, steps)
    monkeypatch.setattr(trace_slices, "_SAMPLED_ROWS", 16)
    parts = list(trace_slices.slices(trace, steps, 300))
    monkeypatch.setattr(trace_breakdown, "slices", lambda *_: iter(parts))
    sliced = break_down(trace, steps)

    assert len(parts) > 5
    assert whole is not None
    assert sliced is not None
    assert sliced.partition == whole.partition
    assert sliced.idle_share == whole.idle_share
    assert sliced.communication_share == whole.communication_share
    for name, ns in whole.by_step.partition.items():
        np.testing.assert_array_equal(sliced.by_step.partition[name], ns)
    np.testing.assert_array_equal(sliced.by_step.wait, whole.by_step.wait)
    assert whole.by_step.wait.sum() > 1_500_000


def test_slices_begin_with_a_step_where_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = random_trace(tmp_path, 0)
    steps = find_steps(trace)
    monkeypatch.setattr(trace_slices, "_SAMPLED_ROWS", 16)
    begins = [int(part.steps.begin_ns[0]) for part in trace_slices.slices(trace, steps, 1000)]

    assert len(begins) > 2
    assert set(begins[:-1]) <= set(steps.begin_ns.tolist())  # none begins in the last one


def test_rows_over_borders_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_slices, "MAX_LONG_ROWS", 10)
    monkeypatch.setattr(trace_slices, "_SAMPLED_ROWS", 16)
    events = [profiler_step(1, 0, 10_000)]
    events += [event("cpu_op", "o", n, 9000) for n in range(1000)]
    trace = parse_trace(write_trace(tmp_path / "t.json", events))
    parts = list(trace_slices.slices(trace, find_steps(trace), 200))

    assert len(parts) > 2
    assert sum(len(part.trace.events["op"]) for part in parts) <= 1000 + 10 * len(parts)
