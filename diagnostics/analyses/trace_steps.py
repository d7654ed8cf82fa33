"""The steps of a trace, by the surest mark that it has, and the window that they make."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, union
from diagnostics.analyses.trace_launches import UNKNOWN, find_launches
from diagnostics.analyses.trace_names import LOADER_FETCH, OPTIMIZER_STEP, PROFILER_STEP, STEP_RANGE
from diagnostics.analyses.trace_rows import chosen, chunks, outermost
from diagnostics.trace import DEVICE_KINDS, Kind, Trace

StepMark = Literal["ProfilerStep", "range", "optimizer step", "data loader", "none"]

MIN_REPEATS = 3
"""A mark that is not made for steps must come back this often to be taken for one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceSteps:
    """Steps in order. With mark "none" there is one entry, the whole trace, which is no step.

    `start_ns`, `host_end_ns`: what the program spent; `end_ns`: extended to the end of the device
    work launched meanwhile, and `begin_ns` the later of the start and the last step's `end_ns`, so
    that the steps [begin, end) do not overlap. `track` is the thread that made the marks, -1 if
    none did.
    """

    mark: StepMark
    numbers: Array
    start_ns: Array
    host_end_ns: Array
    begin_ns: Array
    end_ns: Array
    track: int = UNKNOWN

    @property
    def count(self) -> int:
        """How many steps there are."""
        return 0 if self.mark == "none" else len(self)

    @property
    def window(self) -> Intervals:
        """All steps together; the whole trace where there are none."""
        return union(self.begin_ns, self.end_ns)

    @property
    def median_host_ms(self) -> float | None:
        """The typical length of a step as the program spent it."""
        lengths = self.host_end_ns - self.start_ns
        return float(np.median(lengths)) / 1e6 if len(lengths) else None

    def __len__(self) -> int:
        return len(self.start_ns)


def find_steps(trace: Trace) -> TraceSteps:
    """The steps of a trace, by the first of these marks that it has.

    Its `ProfilerStep#` marks; ranges that a program opened around each step (`step 12`,
    `train_step`, `iteration#3`); the time between two ends of an optimizer's step, or between two
    fetches of a loader. Otherwise there are none, and the window is the whole trace.
    """
    for mark, pattern, edges in _CHAIN:
        found = _marked(trace, pattern)
        if found is None or (mark != "ProfilerStep" and len(found.start_ns) < MIN_REPEATS):
            continue
        if edges is None:
            return _steps(trace, mark, found)
        edge = np.sort(found.end_ns if edges == "end" else found.start_ns)
        between = _Marks(found.track, np.arange(1, len(edge)), edge[:-1], edge[1:])
        return _steps(trace, mark, between)
    filled = [rows for rows in trace.events.values() if len(rows)]
    start = min((int(rows["start_ns"][0]) for rows in filled), default=0)
    end = max((int(chunk["end_ns"].max()) for rows in filled for chunk in chunks(rows)), default=0)
    times = np.array([[start], [end]] if filled else [[], []], np.int64)
    return _steps(trace, "none", _Marks(UNKNOWN, np.zeros(len(times[0]), np.int64), *times))


_CHAIN: tuple[tuple[StepMark, re.Pattern[str], Literal["start", "end"] | None], ...] = (
    ("ProfilerStep", PROFILER_STEP, None),
    ("range", STEP_RANGE, None),
    ("optimizer step", OPTIMIZER_STEP, "end"),
    ("data loader", LOADER_FETCH, "start"),
)
"""A mark, how it is spelled, and which of its edges part the steps; None if it lasts a step."""


@dataclass(frozen=True, eq=False)
class _Marks:
    track: int
    numbers: Array
    start_ns: Array
    end_ns: Array


def _marked(trace: Trace, pattern: re.Pattern[str]) -> "_Marks | None":
    """The spans of the program whose name fits, on the thread that has most of them.

    What lies within another one, as a step of accumulated gradients may, is part of that.
    """
    wanted = trace.named(pattern)
    for kind in _HOST_SPANS:
        events = chosen(trace.events[kind], wanted)
        if not len(events):
            continue
        tracks, counts = np.unique(events["track"], return_counts=True)
        track = int(tracks[counts.argmax()])
        rows = outermost(events[events["track"] == track])
        numbers = [_number(pattern, name) for name in trace.names_of(rows)]
        return _Marks(track, np.array(numbers, np.int64), rows["start_ns"], rows["end_ns"])
    return None


_HOST_SPANS: tuple[Kind, ...] = ("span", "op")
"""Traces of 2021 and before have no category of their own for a program's ranges."""


def _number(pattern: re.Pattern[str], name: str) -> int:
    """The number in a mark; 0 where it has none, -1 where it is no number of a step."""
    found = pattern.search(name)
    digits = (found[1] if found and pattern.groups else None) or "0"
    return int(digits) if len(digits) < 18 else -1


def _steps(trace: Trace, mark: StepMark, marks: _Marks) -> TraceSteps:
    start, host_end = marks.start_ns, marks.end_ns
    end = np.maximum.accumulate(_device_end(trace, start, host_end)) if len(start) else host_end
    begin = np.maximum(start, np.concatenate([start[:1], end[:-1]]))
    return TraceSteps(
        mark=mark,
        numbers=marks.numbers,
        start_ns=start,
        host_end_ns=host_end,
        begin_ns=np.minimum(begin, end),
        end_ns=end,
        track=marks.track,
    )


def _device_end(trace: Trace, start: Array, host_end: Array) -> Array:
    """The end of each step with the device work that was launched in it."""
    end = host_end.copy()
    for work in (chunk for kind in DEVICE_KINDS for chunk in chunks(trace.events[kind])):
        launches = find_launches(trace, work)
        step = np.searchsorted(start, launches.start_ns, side="right") - 1
        inside = (step >= 0) & (launches.start_ns < host_end[np.maximum(step, 0)])
        known = inside & launches.is_known
        np.maximum.at(end, step[known], work["end_ns"][known])
    return end
