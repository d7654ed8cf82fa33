"""Every moment in which the device is idle, charged to what kept it waiting.

The thread that launched the next work is the one that kept the device waiting, up to the end of
that launch (after Holistic Trace Analysis' `host_wait`, which stops there): what it did in the gap
says why. From then on the work is queued, and it is the device's own time until it begins.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses import trace_host
from diagnostics.analyses.intervals import Array, Intervals, distinct, union
from diagnostics.analyses.trace_host import HostThreads
from diagnostics.analyses.trace_launches import UNKNOWN
from diagnostics.analyses.trace_places import Place, find_places
from diagnostics.analyses.trace_rows import chunks, cover, joined, minus
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import DEVICE_KINDS, Trace

Cause = Literal[trace_host.Cause, "queued"]
CAUSES: tuple[Cause, ...] = (*trace_host.CAUSES, "queued")

MAX_LAUNCHING_TRACKS = 64
"""A process launches from a few threads; each one takes a pass over all events of the host."""

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
    trace: Trace, steps: TraceSteps, threads: HostThreads | None = None
) -> tuple[IdleCause, ...]:
    """The causes of all idle time in the window, heaviest first; they sum to it.

    Empty where there is no window, or no work of a device.
    """
    window = steps.window
    busy = joined(*(cover(trace.events[kind]) for kind in DEVICE_KINDS))
    if not window.total_ns or not len(busy):
        return ()
    gaps = minus(window, busy)
    parts = _blame(trace, gaps, threads or HostThreads(trace))
    found = [_cause(trace, cause, own, gaps, steps) for cause, own in parts.items() if own]
    return tuple(sorted(found, key=lambda each: -each.ns))


def _cause(
    trace: Trace, cause: Cause, own: dict[int, Intervals], gaps: Intervals, steps: TraceSteps
) -> IdleCause:
    ns = sum(each.total_ns for each in own.values())
    places = () if cause == "queued" else find_places(trace, own, MAX_PLACES)
    frames = [each.where for each in places if each.is_frame]
    return IdleCause(
        cause=cause,
        ns=ns,
        share_of_window=ns / steps.window.total_ns,
        ms_per_step=ns / 1e6 / steps.count if steps.count else None,
        num_gaps=sum(_num_touched(gaps, each) for each in own.values()),
        where=frames[0] if frames else None,
        places=places,
    )


def _blame(
    trace: Trace, gaps: Intervals, threads: HostThreads
) -> dict[Cause, dict[int, Intervals]]:
    """The gaps by cause and by the track that they are charged to."""
    track, launched_ns = _ended_by(trace, gaps)
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


def _ended_by(trace: Trace, gaps: Intervals) -> tuple[Array, Array]:
    """For each gap the track that launched the work which ended it, and when that launch was done.

    The track is -1 where it is not known.
    """
    track, done = np.full(len(gaps), UNKNOWN, np.int32), gaps.end.copy()
    best_ns = np.full(len(gaps), _LAST)
    latest = -_LAST, UNKNOWN
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
            known = work[work["launch_track"] >= 0][-1:]
            latest = max([latest, *zip(known["start_ns"], known["launch_track"], strict=True)])
            first = last
    # After the last work of the trace the thread that launched it is the best guess.
    track[best_ns == _LAST] = int(latest[1])
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
