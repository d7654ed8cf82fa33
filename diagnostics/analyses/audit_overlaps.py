"""Events of one track that overlap without one lying inside the other, which cannot be.

A thread's calls are nested, and a stream runs one thing after the other. What breaks this is
overlong or displaced, and no time computed from it holds.
"""

from collections.abc import Iterable

import numpy as np

from diagnostics.analyses.intervals import Array
from diagnostics.trace import DEVICE_KINDS, Events, Kind, Trace

MAX_ROWS = 1 << 16
"""Rows of each kind that are looked at, the first ones: enough for any share worth naming."""
TOLERANCE_NS = 2_000
"""Whole microseconds at both ends."""

_HOST_KINDS: tuple[Kind, ...] = ("op", "span", "runtime")


def host_overlap_share(trace: Trace) -> float | None:
    """Events of threads that begin inside an event and end after it; None without events."""
    rows = _rows([trace.events[kind] for kind in _HOST_KINDS], "track")
    if rows is None:
        return None
    start, end, track = rows
    order = np.lexsort((-end, start, track))
    start, end, track = start[order], end[order], track[order]
    crossing = 0
    for _, first, last in _runs(track):
        crossing += _num_crossing(start[first:last], end[first:last])
    return crossing / len(start)


def device_overlap_share(trace: Trace) -> float | None:
    """Work on a stream that begins before the work before it ended; None without a device."""
    rows = _rows([trace.events[kind] for kind in DEVICE_KINDS], "track")
    if rows is None:
        return None
    start, end, track = rows
    order = np.lexsort((end, start, track))
    start, end, track = start[order], end[order], track[order]
    same = track[1:] == track[:-1]
    early = start[1:] + TOLERANCE_NS < end[:-1]
    return float((same & early).sum()) / len(start)


def _rows(groups: Iterable[Events], column: str) -> tuple[Array, Array, Array] | None:
    chosen = [rows[:MAX_ROWS] for rows in groups if len(rows)]
    if not chosen:
        return None
    start = np.concatenate([rows["start_ns"] for rows in chosen])
    end = np.concatenate([rows["end_ns"] for rows in chosen])
    return start, end, np.concatenate([rows[column] for rows in chosen])


def _runs(ordered: Array) -> Iterable[tuple[int, int, int]]:
    """Each value of an ordered array with where it begins and ends."""
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.append(begins[1:], len(ordered))
    yield from zip(ordered[begins].tolist(), begins.tolist(), ends.tolist(), strict=True)


def _num_crossing(start: Array, end: Array) -> int:
    """How many end after the innermost event that they begin in; ordered, longest first.

    A stack of open ends, as a walk over the events: those that are over are taken off first.
    """
    open_ends: list[int] = []
    crossing = 0
    for begins, ends in zip(start.tolist(), end.tolist(), strict=True):
        while open_ends and open_ends[-1] <= begins + TOLERANCE_NS:
            open_ends.pop()
        if open_ends and ends > open_ends[-1] + TOLERANCE_NS:
            crossing += 1
            continue
        open_ends.append(ends)
    return crossing
