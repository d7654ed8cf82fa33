"""Long series made short enough to draw: minimum, mean and maximum of each bucket. Pure."""

from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.distribution import Floats, Integers

Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

MAX_BUCKETS = 240
"""A chart of a page is at most some 1000 pixels wide: four pixels for each."""

FARTHEST = 1e15
"""Steps and seconds beyond it are damage, and no axis could show them beside others."""
LARGEST = 1e300


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Neighbouring values of a series: from where to where, how many, and their spread.

    `first` and `last` are the places of the first and last value in it, on the series' own axis;
    `start` and `end` are the bucket's own borders there, so that neighbours touch.
    """

    start: float
    end: float
    first: float
    last: float
    count: int
    low: float
    mean: float
    high: float


def is_near(places: Floats) -> Bools:
    """Which places an axis can show."""
    return np.abs(places) <= FARTHEST


def step_edges(steps: Integers, most: int = MAX_BUCKETS) -> Floats:
    """Borders of at most `most` buckets of whole steps, from the first to after the last step."""
    first, span = int(steps.min()), int(steps.max()) - int(steps.min()) + 1
    num = min(most, span)
    return np.array([first + place * span // num for place in range(num + 1)], dtype="float64")


def even_edges(places: Floats, most: int = MAX_BUCKETS) -> Floats:
    """Borders of buckets of equal width, no more than there are values."""
    low, high = float(places.min()), float(places.max())
    num = min(most, len(places))
    return np.linspace(low, high if high > low else low + 1.0, num + 1)


def bucket_of(places: Floats, edges: Floats) -> Integers:
    """The number of the bucket that each place falls into; the last border belongs to the last."""
    found = np.searchsorted(edges, places, side="right") - 1
    return np.clip(found, 0, len(edges) - 2)


def make_buckets(
    places: Floats, values: Floats, weights: Floats, edges: Floats
) -> tuple[Bucket, ...]:
    """The buckets that hold a value, in order; the mean is weighted."""
    is_known = (np.abs(values) <= LARGEST) & is_near(places) & (weights > 0)
    places, values, weights = places[is_known], values[is_known], weights[is_known]
    if not len(values):
        return ()
    index = bucket_of(places, edges)
    order = np.argsort(index, kind="stable")
    index, places = index[order], places[order]
    values, weights = values[order], weights[order]
    numbers, starts, counts = np.unique(index, return_index=True, return_counts=True)
    low = np.minimum.reduceat(values, starts)
    high = np.maximum.reduceat(values, starts)
    sums = np.add.reduceat(values * weights, starts) / np.add.reduceat(weights, starts)
    # Rounding must not push a mean of equal values out of their range.
    means = np.clip(sums, low, high)
    firsts, lasts = np.minimum.reduceat(places, starts), np.maximum.reduceat(places, starts)
    return tuple(
        Bucket(
            start=float(edges[number]),
            end=float(edges[number + 1]),
            first=float(firsts[place]),
            last=float(lasts[place]),
            count=int(counts[place]),
            low=float(low[place]),
            mean=float(means[place]),
            high=float(high[place]),
        )
        for place, number in enumerate(numbers.tolist())
    )
