"""The steps of a trace, by the surest mark that it has, and the window that they make."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, union
from diagnostics.analyses.trace_launches import find_launches
from diagnostics.analyses.trace_names import LOADER_FETCH, OPTIMIZER_STEP, PROFILER_STEP
from diagnostics.trace import DEVICE_KINDS, Events, Kind, Trace

StepMark = Literal["ProfilerStep", "optimizer step", "data loader", "none"]

_CHUNK_ROWS = 1 << 18
MIN_REPEATS = 3
"""A mark that is not made for steps must come back this often to be taken for one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceSteps:
    """Steps in order.

    `start_ns`, `host_end_ns`: what the program spent; `end_ns`: extended to the end of the device
    work launched meanwhile, and `begin_ns` the later of the start and the last step's `end_ns`, so
    that the steps [begin, end) do not overlap.
    """

    mark: StepMark
    numbers: Array
    start_ns: Array
    host_end_ns: Array
    begin_ns: Array
    end_ns: Array

    @property
    def window(self) -> Intervals:
        """All steps together."""
        return union(self.begin_ns, self.end_ns)

    def __len__(self) -> int:
        return len(self.start_ns)


def find_steps(trace: Trace) -> TraceSteps:
    """The steps of a trace.

    They are its `ProfilerStep#` marks; without them the time between two ends of an optimizer's
    step, or between two fetches of a loader; otherwise there are none.
    """
    for mark, pattern in (
        ("ProfilerStep", PROFILER_STEP),
        ("optimizer step", OPTIMIZER_STEP),
        ("data loader", LOADER_FETCH),
    ):
        found = _marked(trace, pattern)
        if mark == "ProfilerStep" and len(found[0]):
            return _steps("ProfilerStep", trace, *found)
        if mark != "ProfilerStep" and len(found[0]) >= MIN_REPEATS:
            edge = found[2] if mark == "optimizer step" else found[1]
            edge = np.sort(edge)
            numbers = np.arange(1, len(edge))
            return _steps(mark, trace, numbers, edge[:-1], edge[1:])  # type: ignore[arg-type]
    nothing = np.empty(0, np.int64)
    return _steps("none", trace, nothing, nothing, nothing)


def _marked(trace: Trace, pattern: re.Pattern[str]) -> tuple[Array, Array, Array]:
    """Number, start and end of the spans of the program whose name fits, on its busiest thread."""
    wanted = trace.named(pattern)
    for kind in _HOST_SPANS:
        events = trace.events[kind]
        chosen = events[np.isin(events["name"], wanted)]
        if not len(chosen):
            continue
        tracks, counts = np.unique(chosen["track"], return_counts=True)
        rows = chosen[chosen["track"] == tracks[counts.argmax()]]
        numbers = [_number(pattern, name) for name in trace.names_of(rows)]
        order = np.argsort(rows["start_ns"], kind="stable")
        return (
            np.array(numbers, np.int64)[order],
            rows["start_ns"][order],
            rows["end_ns"][order],
        )
    nothing = np.empty(0, np.int64)
    return nothing, nothing, nothing


_HOST_SPANS: tuple[Kind, ...] = ("span", "op")
"""Traces of 2021 and before have no category of their own for a program's ranges."""


def _number(pattern: re.Pattern[str], name: str) -> int:
    found = pattern.search(name)
    digits = found[1] if found and pattern.groups else "0"
    return int(digits) if len(digits) < 18 else -1


def _steps(
    mark: StepMark, trace: Trace, numbers: Array, start: Array, host_end: Array
) -> TraceSteps:
    end = np.maximum.accumulate(_device_end(trace, start, host_end)) if len(start) else host_end
    begin = np.maximum(start, np.concatenate([start[:1], end[:-1]]))
    return TraceSteps(
        mark=mark,
        numbers=numbers,
        start_ns=start,
        host_end_ns=host_end,
        begin_ns=np.minimum(begin, end),
        end_ns=end,
    )


def _device_end(trace: Trace, start: Array, host_end: Array) -> Array:
    """The end of each step with the device work that was launched in it."""
    end = host_end.copy()
    for work in (chunk for kind in DEVICE_KINDS for chunk in _chunks(trace.events[kind])):
        launches = find_launches(trace, work)
        step = np.searchsorted(start, launches.start_ns, side="right") - 1
        inside = (step >= 0) & (launches.start_ns < host_end[np.maximum(step, 0)])
        known = inside & launches.is_known
        np.maximum.at(end, step[known], work["end_ns"][known])
    return end


def _chunks(rows: Events) -> Iterator[Events]:
    """The rows of a long trace do not fit into memory at once."""
    for first in range(0, len(rows), _CHUNK_ROWS):
        yield rows[first : first + _CHUNK_ROWS]
