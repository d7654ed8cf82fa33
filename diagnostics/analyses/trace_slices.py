"""A long trace worked through in slices of time, so that memory follows the slice.

Sums over time may be taken slice by slice: each slice is a trace by itself, with the steps cut to
it. What lies in two slices is in both.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from diagnostics.analyses.intervals import Array
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import Events, Kind, Trace

SLICE_ROWS = 1 << 19
"""Rows of all kinds in one slice: some 20 MB, and several times that while they are worked on."""

MAX_LONG_ROWS = 1 << 16
"""Of each kind so many rows may reach over a border of slices: a stack is some 100 deep."""

_SAMPLED_ROWS = 1 << 10
_CHUNK_ROWS = 1 << 18


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """A part of a trace; `first_step` is the place of its first step in the whole."""

    trace: Trace
    steps: TraceSteps
    first_step: int


def slices(trace: Trace, steps: TraceSteps, num_rows: int = SLICE_ROWS) -> Iterator[Slice]:
    """The trace over all its steps, in order of time; in one slice if it is short."""
    if sum(map(len, trace.events.values())) <= num_rows:
        yield Slice(trace=trace, steps=steps, first_step=0)
        return
    yield from slices_at(trace, steps, cuts_between(trace, steps, num_rows))


def slices_at(trace: Trace, steps: TraceSteps, cuts: Array) -> Iterator[Slice]:
    """The trace from each of the times to the next one."""
    long_rows = {kind: _LongRows.of(rows, cuts) for kind, rows in trace.events.items()}
    for number, (start_ns, end_ns) in enumerate(pairwise(cuts.tolist())):
        first_step, own_steps = _steps_between(steps, start_ns, end_ns)
        events = _between(trace.events, long_rows, number, start_ns, end_ns)
        yield Slice(trace=replace(trace, events=events), steps=own_steps, first_step=first_step)


def cuts_between(trace: Trace, steps: TraceSteps, num_rows: int) -> Array:
    """Where slices begin and end: at the beginning of a step, if one begins in time."""
    start_ns, end_ns = int(steps.start_ns[0]), int(steps.end_ns.max())
    samples = [
        rows["start_ns"][_SAMPLED_ROWS // 2 :: _SAMPLED_ROWS] for rows in trace.events.values()
    ]
    at_ns = np.sort(np.concatenate(samples))
    at_ns = at_ns[(at_ns > start_ns) & (at_ns < end_ns)][:: max(1, num_rows // _SAMPLED_ROWS)][1:]
    step = np.searchsorted(steps.begin_ns, at_ns)
    begins = np.append(steps.begin_ns, end_ns)[step]
    in_time = begins < np.append(at_ns[1:], end_ns)
    return np.unique([start_ns, *np.where(in_time, begins, at_ns).tolist(), end_ns])


def excerpt(trace: Trace, start_ns: int, end_ns: int) -> Trace:
    """The trace with those rows only that have a part in [start, end); copied where needed."""
    events = {kind: _rows_of(rows, start_ns, end_ns) for kind, rows in trace.events.items()}
    return replace(trace, events=events)


def _rows_of(rows: Events, start_ns: int, end_ns: int) -> Events:
    first, last = (_place(rows, at_ns) for at_ns in (start_ns, end_ns))
    earlier = [rows[:0]]
    for begin in range(0, first, _CHUNK_ROWS):
        chunk = rows[begin : min(begin + _CHUNK_ROWS, first)]
        earlier.append(chunk[chunk["end_ns"] > start_ns])
    if not any(map(len, earlier)):
        return rows[first:last]
    return np.concatenate([*earlier, rows[first:last]])


@dataclass(frozen=True, eq=False)
class _LongRows:
    """Rows that reach over a cut: from the slice `first` on, until before the slice `last`."""

    rows: Events
    first: Array
    last: Array

    @classmethod
    def of(cls, rows: Events, cuts: Array) -> "_LongRows":
        found = []
        for begin in range(0, len(rows), _CHUNK_ROWS):
            chunk = rows[begin : begin + _CHUNK_ROWS]
            first = np.searchsorted(cuts, chunk["start_ns"], side="right")
            reaches = first < np.searchsorted(cuts, chunk["end_ns"])
            found.append(chunk[reaches])
        kept = np.concatenate(found)[:MAX_LONG_ROWS] if found else rows[:0]
        first = np.searchsorted(cuts, kept["start_ns"], side="right")
        return cls(kept, first, np.searchsorted(cuts, kept["end_ns"]))

    def reaching_into(self, number: int) -> Events:
        """Rows that began before the slice."""
        own: Events = self.rows[(self.first <= number) & (self.last > number)]
        return own


def _between(
    events: Mapping[Kind, Events],
    long_rows: Mapping[Kind, _LongRows],
    number: int,
    start_ns: int,
    end_ns: int,
) -> dict[Kind, Events]:
    found: dict[Kind, Events] = {}
    for kind, rows in events.items():
        first, last = (_place(rows, at_ns) for at_ns in (start_ns, end_ns))
        earlier = long_rows[kind].reaching_into(number)
        own = rows[first:last]
        found[kind] = np.concatenate([earlier, own]) if len(earlier) else own
    return found


def _place(rows: Events, at_ns: int) -> int:
    """Where the first row stands that begins then or later; looks at a few rows of many."""
    return bisect_left(rows["start_ns"], at_ns)


def _steps_between(steps: TraceSteps, start_ns: int, end_ns: int) -> tuple[int, TraceSteps]:
    first = int(np.searchsorted(steps.end_ns, start_ns, side="right"))
    last = max(first, int(np.searchsorted(steps.start_ns, end_ns)))

    def cut(times: Array) -> Array:
        return np.clip(times[first:last], start_ns, end_ns)

    return first, TraceSteps(
        mark=steps.mark,
        numbers=steps.numbers[first:last],
        start_ns=cut(steps.start_ns),
        host_end_ns=cut(steps.host_end_ns),
        begin_ns=cut(steps.begin_ns),
        end_ns=cut(steps.end_ns),
    )
