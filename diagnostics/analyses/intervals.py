"""Interval algebra on arrays: unions, and what covers each moment of a window.

Intervals are half-open, [start, end), in ns; a set of them is two arrays of one length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


@dataclass(frozen=True, eq=False)
class Intervals:
    """Disjoint intervals in order, none of them empty; made by `union`."""

    start: Array
    end: Array

    @property
    def total_ns(self) -> int:
        """Their length together."""
        return int((self.end - self.start).sum())

    def __len__(self) -> int:
        return len(self.start)


def union(start: Array, end: Array) -> Intervals:
    """What any of the intervals covers.

    Args:
        start: Starts in ns, in any order.
        end: Their ends; an interval that ends before it starts covers nothing.
    """
    start, end = np.asarray(start, np.int64), np.asarray(end, np.int64)
    filled = end > start
    start, end = start[filled], end[filled]
    if not len(start):
        return Intervals(start, end)
    if not (start[1:] >= start[:-1]).all():
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    reach = np.maximum.accumulate(end)
    begins = np.flatnonzero(np.concatenate([[True], start[1:] > reach[:-1]]))
    return Intervals(start[begins], reach[np.append(begins[1:], len(start)) - 1])


def distinct(values: Array) -> Array:
    """The values in order, each once; several times as fast as `numpy.unique`, which hashes."""
    values = np.sort(values)
    is_new = np.concatenate([values[:1] == values[:1], values[1:] != values[:-1]])
    found: Array = values[is_new]
    return found


@dataclass(frozen=True, eq=False)
class Timeline:
    """Time cut at every start and end of several sets: piece i is [points[i], points[i + 1]).

    `bits` has bit k set where set k covers the piece.
    """

    points: Array
    bits: Array

    @classmethod
    def of(cls, sets: Sequence[Intervals]) -> "Timeline":
        """The time line of at most 60 sets."""
        ends = [each for one in sets for each in (one.start, one.end)]
        points = distinct(np.concatenate(ends)) if ends else np.empty(0, np.int64)
        bits = np.zeros(max(len(points) - 1, 0), np.int64)
        for number, one in enumerate(sets):
            change = np.zeros(len(points) + 1, np.int8)
            change[np.searchsorted(points, one.start)] += 1
            change[np.searchsorted(points, one.end)] -= 1
            covers = np.cumsum(change, dtype=np.int8)[: len(bits)] > 0
            bits |= covers.astype(np.int64) << number
        return cls(points, bits)

    @property
    def lengths_ns(self) -> Array:
        """The length of every piece."""
        return np.diff(self.points)

    def covered(self, number: int) -> Array:
        """Whether set `number` covers each piece."""
        covers: Array = (self.bits >> number) & 1 == 1
        return covers

    def total_ns(self, pieces: Array) -> int:
        """The length of the chosen pieces together."""
        return int(self.lengths_ns[pieces].sum())

    def where(self, pieces: Array) -> Intervals:
        """The chosen pieces, joined where they touch."""
        return union(self.points[:-1][pieces], self.points[1:][pieces])
