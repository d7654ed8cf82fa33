"""A run of which only traces are known gets the tables of steps and phases from them.

So every analysis and rule of recorded runs looks at a trace, too. By the device's clock a step is
cut by the priority partition, in which the wait for data is what no work of the device hides; by
the host's clock only that wait is known, and the rest is `other`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diagnostics import tables as declared
from diagnostics.analyses.intervals import Array
from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_breakdown import StepTimes
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.run import Run

DATA_WAIT = "data_wait"
_PHASE_NAMES = {"data_loader": DATA_WAIT}
_NS_PER_MS = 1e6


def with_trace_tables(run: Run, traces: Sequence[TraceAnalysis]) -> Run:
    """The same run, with steps and phases of its traces if it has no steps of its own."""
    traces = [each for each in traces if each.num_steps]
    if len(run.tables.steps) or not traces:
        return run
    steps: list[dict[str, Any]] = []
    phases: list[dict[str, Any]] = []
    for place, trace in enumerate(traces):
        rank = place if trace.rank is None else trace.rank
        clock = "device" if trace.has_device else "host"
        steps += _step_rows(trace.steps, rank, clock)
        if trace.breakdown is not None:
            phases += _phase_rows(trace.steps, trace.breakdown.by_step, rank, clock)
    tables = replace(
        run.tables,
        steps=declared.STEPS.from_records(steps),
        phases=declared.PHASES.from_records(phases),
    )
    return replace(run, tables=tables)


def _step_rows(steps: TraceSteps, rank: int, clock: str) -> Iterator[dict[str, Any]]:
    for number in _numbers(steps):
        yield {
            "rank": rank, "step": number, "num_steps": 1, "is_tagged": False,
            "tags": "", "num_tagged": 0, "clock": clock,
        }  # fmt: skip


def _numbers(steps: TraceSteps) -> list[int]:
    """The trace's own numbers where all of them differ, else the places."""
    numbers = steps.numbers
    differ = len(np.unique(numbers)) == len(numbers)
    found: list[int] = (numbers if differ else np.arange(1, len(numbers) + 1)).tolist()
    return found


def _phase_rows(
    steps: TraceSteps, times: StepTimes, rank: int, clock: str
) -> Iterator[dict[str, Any]]:
    whole = steps.host_end_ns - steps.start_ns
    host = {DATA_WAIT: times.wait, "other": whole - times.wait, "step": whole}
    parts = {_PHASE_NAMES.get(name, name): ns for name, ns in times.partition.items()}
    parts["step"] = steps.end_ns - steps.begin_ns
    if clock == "device":
        yield from _rows(steps, rank, "device", parts)
        yield from _rows(steps, rank, "host", host)
    else:
        yield from _rows(steps, rank, "host", {n: ns for n, ns in parts.items() if ns.any()})


def _rows(
    steps: TraceSteps, rank: int, clock: str, parts: dict[str, Array]
) -> Iterator[dict[str, Any]]:
    numbers = _numbers(steps)
    for name, values in parts.items():
        for number, ns in zip(numbers, values.tolist(), strict=True):
            yield {
                "rank": rank, "step": number, "name": name, "clock": clock,
                "ms": ns / _NS_PER_MS, "num_steps": 1, "is_tagged": False,
            }  # fmt: skip
