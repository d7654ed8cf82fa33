"""Which call of the program launched which work of the device, and inside what."""

from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array
from diagnostics.analyses.trace_rows import CHUNK_ROWS
from diagnostics.trace import Events, Trace

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Launches:
    """For each work of the device: when its launch began and ended, and on which track; -1 unknown.

    The times mean nothing where the track is unknown.
    """

    start_ns: Array
    end_ns: Array
    track: Array

    @property
    def is_known(self) -> Array:
        """Whether the launch is in the trace."""
        known: Array = self.track >= 0
        return known


def find_launches(trace: Trace, work: Events) -> Launches:
    """The runtime call of equal correlation; the first one where there are several."""
    return Launches(work["launch_ns"], work["launch_end_ns"], work["launch_track"])


def places(ids: Array, wanted: Array) -> Array:
    """Where each wanted id stands first among the ids; -1 where it does not, or is negative."""
    if not len(ids):
        return np.full(len(wanted), UNKNOWN)
    order = np.argsort(ids, kind="stable")
    place = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    place = order[place]
    return np.where((ids[place] == wanted) & (wanted >= 0), place, UNKNOWN)


def places_in_rows(rows: Events, column: str, wanted: Array) -> Array:
    """The same for the ids in a column of many rows, with memory for a chunk of them only."""
    distinct, back = np.unique(wanted, return_inverse=True)
    first = np.full(len(distinct), UNKNOWN)
    for begin in range(0, len(rows), CHUNK_ROWS):
        ids = rows[column][begin : begin + CHUNK_ROWS]
        place = np.minimum(np.searchsorted(distinct, ids), max(len(distinct) - 1, 0))
        fits = np.flatnonzero((ids >= 0) & (distinct[place] == ids)) if len(distinct) else place[:0]
        # Backwards, so that the first of equal ids is what stays.
        newest = np.full(len(distinct), UNKNOWN)
        newest[place[fits][::-1]] = fits[::-1] + begin
        first = np.where(first >= 0, first, newest)
    return first[back]


def operators_of(trace: Trace, work: Events) -> Array:
    """The name, as a number, of the operator that launched each event; -1 unknown."""
    operators: Array = work["operator"]
    return operators


def enclosing(spans: Events, track: Array, at_ns: Array) -> Array:
    """The name, as a number, of the innermost span on a track at a time; -1 where there is none.

    Arguments as in `enclosing_rows`.
    """
    place = enclosing_rows(spans, track, at_ns)
    return np.append(spans["name"], UNKNOWN)[place]


def enclosing_rows(spans: Events, track: Array, at_ns: Array) -> Array:
    """The place of the innermost span on a track at a time; -1 where there is none.

    Args:
        spans: Properly nested on each track, sorted by start, longest first.
        track: The track of each question.
        at_ns: The time of each question.
    """
    answer = np.full(len(at_ns), UNKNOWN)
    by_track = np.argsort(spans["track"], kind="stable")
    ordered_spans = spans["track"][by_track]
    questions = np.argsort(track, kind="stable")
    ordered = track[questions]
    for number in np.intersect1d(track[track >= 0], ordered_spans).tolist():
        own = by_track[_slice_of(ordered_spans, number)]
        asked = questions[_slice_of(ordered, number)]
        inner = innermost(spans["start_ns"][own], spans["end_ns"][own], at_ns[asked])
        answer[asked] = np.append(own, UNKNOWN)[inner]
    return answer


def _slice_of(ordered: Array, value: int) -> slice:
    """Where the value stands in values in order."""
    first, last = np.searchsorted(ordered, [value, value + 1])
    return slice(int(first), int(last))


def depths(start: Array, end: Array) -> Array:
    """How many others enclose each of properly nested spans, sorted by start, longest first."""
    ended = np.searchsorted(np.sort(end), start, side="right")
    # A span without length has ended where it starts, and must not count for itself.
    depth: Array = np.maximum(np.arange(len(start)) - ended, 0)
    return depth


def innermost(start: Array, end: Array, at_ns: Array) -> Array:
    """The place of the innermost of nested spans at each time; -1 where there is none.

    Spans of one depth lie one after the other: among those, the last that began by then is meant.
    """
    answer = np.full(len(at_ns), UNKNOWN)
    filled = np.flatnonzero(end > start)
    start, end = start[filled], end[filled]
    began = np.searchsorted(start, at_ns, side="right")
    open_now = began - np.searchsorted(np.sort(end), at_ns, side="right")
    depth = depths(start, end)
    for level in np.unique(open_now[open_now > 0]).tolist():
        own = np.flatnonzero(depth == level - 1)
        asked = np.flatnonzero(open_now == level)
        place = np.searchsorted(start[own], at_ns[asked], side="right") - 1
        answer[asked] = np.append(filled[own], UNKNOWN)[place]
    return answer
