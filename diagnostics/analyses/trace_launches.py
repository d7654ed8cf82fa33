"""Which call of the program launched which work of the device, and inside what."""

from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array
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


def operators_of(trace: Trace, work: Events) -> Array:
    """The name, as a number, of the operator that launched each event; -1 unknown."""
    operators: Array = work["operator"]
    return operators


def enclosing(spans: Events, track: Array, at_ns: Array) -> Array:
    """The name, as a number, of the innermost span on a track at a time; -1 where there is none.

    Args:
        spans: Properly nested on each track, sorted by start, longest first.
        track: The track of each question.
        at_ns: The time of each question.
    """
    answer = np.full(len(at_ns), UNKNOWN)
    spans = spans[np.argsort(spans["track"], kind="stable")]
    questions = np.argsort(track, kind="stable")
    ordered = track[questions]
    for number in np.intersect1d(track[track >= 0], spans["track"]).tolist():
        own = spans[_slice_of(spans["track"], number)]
        asked = questions[_slice_of(ordered, number)]
        answer[asked] = _innermost(own, at_ns[asked])
    return answer


def _slice_of(ordered: Array, value: int) -> slice:
    """Where the value stands in values in order."""
    first, last = np.searchsorted(ordered, [value, value + 1])
    return slice(int(first), int(last))


def _innermost(spans: Events, at_ns: Array) -> Array:
    """Names of the innermost spans at the times, by one walk over all edges of the track."""
    starts, ends, names = spans["start_ns"], spans["end_ns"], spans["name"].tolist()
    # At one moment ends come before starts, and a longer span starts before a shorter one.
    edges = np.concatenate([ends, starts])
    is_start = np.concatenate([np.zeros(len(ends), np.int8), np.ones(len(starts), np.int8)])
    order = np.lexsort((is_start, edges))
    open_names: list[int] = []
    top = np.empty(len(order), np.int64)
    for place, index in enumerate(order.tolist()):
        if index >= len(ends):
            open_names.append(names[index - len(ends)])
        elif open_names:
            open_names.pop()
        top[place] = open_names[-1] if open_names else UNKNOWN
    found = np.searchsorted(edges[order], at_ns, side="right") - 1
    return np.where(found >= 0, top[np.maximum(found, 0)], UNKNOWN)
