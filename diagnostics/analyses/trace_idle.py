"""Every moment in which the device is idle, charged to what kept it waiting.

The thread that launched the next work is the one that kept the device waiting, up to the end of
that launch (after Holistic Trace Analysis' `host_wait`, which stops there): what it did in the gap
says why. From then on the work is queued, and it is the device's own time until it begins.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses import trace_host
from diagnostics.analyses.intervals import Array, Intervals, distinct, union
from diagnostics.analyses.trace_host import HostThreads
from diagnostics.analyses.trace_launches import UNKNOWN
from diagnostics.analyses.trace_places import Place, PlaceTimes
from diagnostics.analyses.trace_rows import CHUNK_ROWS, chunks, cover, joined, minus
from diagnostics.analyses.trace_slices import cuts_between, slices_at
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import DEVICE_KINDS, Trace

Cause = Literal[trace_host.Cause, "queued"]
CAUSES: tuple[Cause, ...] = (*trace_host.CAUSES, "queued")

MAX_LAUNCHING_TRACKS = 64
"""A process launches from a few threads; each one takes a pass over all events of the host."""

SLICE_ROWS = 1 << 18
"""Rows of all kinds worked on at a time."""

_LOOKED_AT_ROWS = 1 << 10
_LAST = np.iinfo(np.int64).max
MAX_PLACES = 3
"""Places named for each cause."""


@dataclass(frozen=True, kw_only=True)
class IdleCause:
    """Idle time of one cause over the window; `queued` is time after the launch was done.

    `places` are where most of it was spent, heaviest first: file and line of the program's own
    code where the trace has stacks, else the operator, call or range; `where` is the heaviest frame
    as text, None without stacks. `ms_per_step` is None where there is no step.
    """

    cause: Cause
    ns: int
    share_of_window: float
    ms_per_step: float | None
    num_gaps: int
    where: str | None = None
    places: tuple[Place, ...] = ()


def find_idle_causes(
    trace: Trace, steps: TraceSteps, num_rows: int = SLICE_ROWS
) -> tuple[IdleCause, ...]:
    """The causes of all idle time in the window, heaviest first; they sum to it.

    Empty where there is no window, or no work of a device. A trace of more than `num_rows` rows is
    worked through in slices of about so many.
    """
    if not steps.window.total_ns or _next_work_ns(trace, -_LAST) is None:
        return ()
    last_track, spent = _last_launching_track(trace), _Spent(trace)
    for part in slices_at(trace, steps, _cuts_at_work(trace, steps, num_rows)):
        busy = joined(*(cover(part.trace.events[kind]) for kind in DEVICE_KINDS))
        gaps = minus(part.steps.window, busy)
        spent.add(part.trace, gaps, _blame(part.trace, gaps, last_track))
    return tuple(sorted(spent.causes(steps), key=lambda each: -each.ns))


class _Spent:
    """Idle time by its cause, summed up over parts of a trace."""

    def __init__(self, trace: Trace) -> None:
        self._ns = dict.fromkeys(CAUSES, 0)
        self._num_gaps = dict.fromkeys(CAUSES, 0)
        self._places = {cause: PlaceTimes(trace) for cause in CAUSES if cause != "queued"}

    def add(self, trace: Trace, gaps: Intervals, parts: dict[Cause, dict[int, Intervals]]) -> None:
        """Takes a part of the trace in account."""
        for cause, own in parts.items():
            self._ns[cause] += sum(each.total_ns for each in own.values())
            self._num_gaps[cause] += sum(_num_touched(gaps, each) for each in own.values())
            if cause in self._places:
                self._places[cause].add(trace, own)

    def causes(self, steps: TraceSteps) -> Iterator[IdleCause]:
        """The causes of any time."""
        for cause, ns in self._ns.items():
            if not ns:
                continue
            places = () if cause == "queued" else self._places[cause].heaviest(MAX_PLACES)
            yield IdleCause(
                cause=cause,
                ns=ns,
                share_of_window=ns / steps.window.total_ns,
                ms_per_step=ns / 1e6 / steps.count if steps.count else None,
                num_gaps=self._num_gaps[cause],
                where=next((each.where for each in places if each.is_frame), None),
                places=places,
            )


def _cuts_at_work(trace: Trace, steps: TraceSteps, num_rows: int) -> Array:
    """Where slices begin and end: inside of work, so that each gap is whole, with what ends it."""
    is_short = sum(map(len, trace.events.values())) <= num_rows
    begin_ns, *between_ns, end_ns = (
        (int(steps.start_ns[0]), int(steps.end_ns.max()))
        if is_short
        else cuts_between(trace, steps, num_rows).tolist()
    )
    next_ns = [_next_work_ns(trace, at_ns) for at_ns in between_ns]
    inside = [at_ns + 1 for at_ns in next_ns if at_ns is not None and at_ns + 1 < end_ns]
    after_ns = _next_work_ns(trace, end_ns)
    # The work after the window says who kept the device waiting at its end.
    return np.unique([begin_ns, *inside, end_ns if after_ns is None else after_ns + 1])


def _next_work_ns(trace: Trace, at_ns: int) -> int | None:
    """When the first work of any length begins at that time or later; None if none does."""
    found = []
    for kind in DEVICE_KINDS:
        rows = trace.events[kind]
        for chunk in chunks(rows[bisect_left(rows["start_ns"], at_ns) :], _LOOKED_AT_ROWS):
            filled = np.flatnonzero(chunk["end_ns"] > chunk["start_ns"])
            if len(filled):
                found.append(int(chunk["start_ns"][filled[0]]))
                break
    return min(found, default=None)


def _last_launching_track(trace: Trace) -> int:
    """The thread that launched the last work of the trace, of what is known; -1 unknown."""
    latest = -_LAST, UNKNOWN
    for kind in DEVICE_KINDS:
        rows = trace.events[kind]
        for end in range(len(rows), 0, -CHUNK_ROWS):
            chunk = rows[max(end - CHUNK_ROWS, 0) : end]
            known = np.flatnonzero(chunk["launch_track"] >= 0)
            if len(known):
                last = chunk[known[-1]]
                latest = max(latest, (int(last["start_ns"]), int(last["launch_track"])))
                break
    return latest[1]


def _blame(trace: Trace, gaps: Intervals, last_track: int) -> dict[Cause, dict[int, Intervals]]:
    """The gaps by cause and by the track that they are charged to."""
    track, launched_ns = _ended_by(trace, gaps, last_track)
    threads = HostThreads(trace)
    judged = _waited_most(track, gaps.end - gaps.start)
    track = np.where(np.isin(track, judged), track, UNKNOWN)
    waited = np.clip(launched_ns, gaps.start, gaps.end)
    parts: dict[Cause, dict[int, Intervals]] = {cause: {} for cause in CAUSES}
    queued = union(waited[track >= 0], gaps.end[track >= 0])
    if len(queued):
        parts["queued"][UNKNOWN] = queued
    lost = union(gaps.start[track < 0], gaps.end[track < 0])
    if len(lost):
        parts["unattributed"][UNKNOWN] = lost
    for number in np.unique(track[track >= 0]).tolist():
        own = union(gaps.start[track == number], waited[track == number])
        for cause, part in threads.on(number).split(own).items():
            parts[cause][number] = part
    return parts


def _ended_by(trace: Trace, gaps: Intervals, last_track: int) -> tuple[Array, Array]:
    """For each gap the track that launched the work which ended it, and when that launch was done.

    The track is -1 where it is not known.
    """
    track, done = np.full(len(gaps), UNKNOWN, np.int32), gaps.end.copy()
    best_ns = np.full(len(gaps), _LAST)
    for kind in DEVICE_KINDS:
        first = 0
        for work in chunks(trace.events[kind]):
            start = np.ascontiguousarray(work["start_ns"])
            last = int(np.searchsorted(gaps.end, start[-1], side="right"))
            # Of each gap the first work that begins when it ends, or later where it was cut.
            place = np.searchsorted(start, gaps.end[first:last])
            sooner = np.flatnonzero(start[place] < best_ns[first:last])
            mine, own = first + sooner, place[sooner]
            best_ns[mine], track[mine] = start[own], work["launch_track"][own]
            done[mine] = work["launch_end_ns"][own]
            first = last
    # After the last work of the trace the thread that launched it is the best guess.
    track[best_ns == _LAST] = last_track
    return track, done


def _waited_most(track: Array, length_ns: Array) -> Array:
    """The launching threads behind the longest gaps, at most `MAX_LAUNCHING_TRACKS`."""
    known = np.flatnonzero(track >= 0)
    numbers, place = np.unique(track[known], return_inverse=True)
    spent = np.bincount(place, weights=length_ns[known], minlength=len(numbers))
    judged: Array = numbers[np.argsort(-spent, kind="stable")[:MAX_LAUNCHING_TRACKS]]
    return judged


def _num_touched(gaps: Intervals, part: Intervals) -> int:
    """In how many gaps the part lies."""
    return len(distinct(np.searchsorted(gaps.start, part.start, side="right")))
