"""Rows of a trace worked through in chunks, so that memory follows the chunk and not the trace."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.trace import Events

CHUNK_ROWS = 1 << 18
"""Some 10 MB of rows: large enough that the work per chunk vanishes."""


def chunks(rows: Events, num_rows: int = CHUNK_ROWS) -> Iterator[Events]:
    """The rows in order, as views."""
    for first in range(0, len(rows), num_rows):
        yield rows[first : first + num_rows]


def chunks_apart(rows: Events, num_rows: int = CHUNK_ROWS) -> Iterator[Events]:
    """The same, cut only where no row before the cut reaches over it."""
    first = 0
    while first < len(rows):
        last, reach = first, np.iinfo(np.int64).min
        until = min(first + num_rows, len(rows))
        while last < until:
            reach = max(reach, int(rows["end_ns"][last:until].max()))
            last, until = until, bisect_left(rows["start_ns"], reach, until)
        yield rows[first:last]
        first = last


def covers(rows: Events, *, but: "Array | None" = None) -> Iterator[Intervals]:
    """What the rows cover, by chunks: disjoint sets in order; arguments as of `cover`."""
    reach = np.iinfo(np.int64).min
    for chunk in chunks(rows):
        own = chunk if but is None else chunk[~has_name(chunk, but)]
        # Whatever reaches over the border covers all of the time until then.
        yield union(np.maximum(own["start_ns"], reach), own["end_ns"])
        reach = max(reach, int(own["end_ns"].max(initial=reach)))


def has_name(rows: Events, names: Array) -> Array:
    """Whether each row's name is among the numbers; by a table, which beats a search."""
    if not len(names):
        return np.zeros(len(rows), bool)
    fits = np.zeros(int(np.max(names)) + 2, bool)
    fits[names] = True
    found: Array = fits[np.minimum(rows["name"], len(fits) - 1)]
    return found


def cover(rows: Events, names: "Array | None" = None, *, but: "Array | None" = None) -> Intervals:
    """What the rows cover.

    Args:
        rows: By start.
        names: Of these names only, as numbers.
        but: Without these.
    """
    parts = [_cover_of(chunk, names, but) for chunk in chunks(rows)]
    return joined(*parts)


def _cover_of(rows: Events, names: "Array | None", but: "Array | None") -> Intervals:
    if names is not None:
        rows = rows[has_name(rows, names)]
    if but is not None and len(but):
        rows = rows[~has_name(rows, but)]
    return union(rows["start_ns"], rows["end_ns"])


def chosen(rows: Events, names: Array) -> Events:
    """The rows of the names, which are numbers; copied."""
    parts = [chunk[has_name(chunk, names)] for chunk in chunks(rows)]
    return np.concatenate([rows[:0], *parts])


def outermost(rows: Events) -> Events:
    """Those of a track that no earlier one reaches over, in order of track and start."""
    rows = rows[np.lexsort((-rows["end_ns"], rows["start_ns"], rows["track"]))]
    if not len(rows):
        return rows
    keep = []
    for track in np.unique(rows["track"]).tolist():
        own = np.flatnonzero(rows["track"] == track)
        reach = np.maximum.accumulate(rows["end_ns"][own])
        keep.append(own[np.append(True, rows["start_ns"][own][1:] >= reach[:-1])])
    outer: Events = rows[np.concatenate(keep)]
    return outer


def outermost_on(rows: Events, track: int, but: Array) -> Iterator[Events]:
    """The same of one track, in pieces, for many rows in order of their start; some names apart."""
    reach = np.iinfo(np.int64).min
    for chunk in chunks(rows):
        own = chunk[chunk["track"] == track]
        own = own[~has_name(own, but)]
        reaches = np.maximum.accumulate(np.append(reach, own["end_ns"]))
        yield own[own["start_ns"] >= reaches[:-1]]
        reach = reaches[-1]


def rows_in(rows: Events, window: Intervals) -> Events:
    """The rows that begin in the set; a view where they follow each other."""
    is_in = begins_in(rows, window)
    places = np.flatnonzero(is_in)
    if not len(places):
        return rows[:0]
    first, last = int(places[0]), int(places[-1]) + 1
    return rows[first:last] if len(places) == last - first else rows[is_in]


def begins_in(rows: Events, window: Intervals) -> Array:
    """Whether each row begins in the set."""
    at_ns = rows["start_ns"]
    if not len(window):
        return np.zeros(len(at_ns), bool)
    place = np.searchsorted(window.start, at_ns, side="right") - 1
    is_in: Array = (place >= 0) & (at_ns < window.end[np.maximum(place, 0)])
    return is_in


def joined(*sets: Intervals) -> Intervals:
    """What any of the sets covers."""
    filled = [each for each in sets if len(each)]
    if len(filled) == 1:
        return filled[0]
    nothing = np.empty(0, np.int64)
    start = np.concatenate([nothing, *(each.start for each in filled)])
    end = np.concatenate([nothing, *(each.end for each in filled)])
    if all(a.end[-1] < b.start[0] for a, b in pairwise(filled)):
        return Intervals(start, end)
    return union(start, end)


def covered_by_rows_ns(
    start: Array, end: Array, rows: Events, *, but: "Array | None" = None
) -> Array:
    """How much of each [start, end) the rows cover, in ns; arguments as of `cover`."""
    spent = np.zeros(len(start), np.int64)
    for part in covers(rows, but=but) if len(start) else ():
        spent += covered_ns(start, end, part)
    return spent


def covered_ns(start: Array, end: Array, by: Intervals) -> Array:
    """How much of each [start, end) lies in the set, in ns."""
    before = np.concatenate([[0], np.cumsum(by.end - by.start)])

    def until(at_ns: Array) -> Array:
        if not len(by):
            return np.zeros(len(at_ns), np.int64)
        place = np.searchsorted(by.start, at_ns, side="right")
        last = np.maximum(place - 1, 0)
        inside = np.minimum(at_ns, by.end[last]) - by.start[last]
        whole: Array = before[last] + np.where(place > 0, inside, 0)
        return whole

    length: Array = until(np.maximum(end, start)) - until(start)
    return length


def between(of: Intervals, start_ns: int, end_ns: int) -> Intervals:
    """The part of a set within [start, end)."""
    first = int(np.searchsorted(of.end, start_ns, side="right"))
    last = int(np.searchsorted(of.start, end_ns, side="left"))
    start = np.maximum(of.start[first:last], start_ns)
    return Intervals(start, np.minimum(of.end[first:last], end_ns))


def sliced(sets: Sequence[Intervals], max_intervals: int = CHUNK_ROWS) -> Iterator[list[Intervals]]:
    """The sets cut by time into slices of about so many intervals, one slice after the other.

    Sums over slices are sums over the whole; memory follows the slice.
    """
    filled = [each for each in sets if len(each)]
    if not filled:
        return
    longest = max(filled, key=len)
    num_slices = sum(map(len, filled)) // max_intervals + 1
    places = np.linspace(0, len(longest), num_slices + 1).astype(np.int64)[1:-1]
    begin, end = (
        min(int(each.start[0]) for each in filled),
        max(int(each.end[-1]) for each in filled),
    )
    borders = [begin, *np.unique(longest.start[places]).tolist(), end]
    for start_ns, end_ns in pairwise(borders):
        if end_ns > start_ns:
            yield [between(each, start_ns, end_ns) for each in sets]


def overlap(first: Intervals, second: Intervals) -> Intervals:
    """What both sets cover."""
    return _where(first, second, 0b11)


def minus(first: Intervals, second: Intervals) -> Intervals:
    """What the first set covers and the second does not."""
    return _where(first, second, 0b01)


def _where(first: Intervals, second: Intervals, bits: int) -> Intervals:
    lines = (Timeline.of(pair) for pair in sliced([first, second]))
    return joined(*(line.where(line.bits == bits) for line in lines))
