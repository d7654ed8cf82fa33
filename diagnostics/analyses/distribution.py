"""Mean, median and p95 of times that each stand for a number of steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How a time is spread over steps, in ms; weighted by the steps a row stands for.

    `count` is the number of steps. Quantiles interpolate linearly; for windows of a text log they
    are quantiles of window means.
    """

    count: int
    mean_ms: float
    median_ms: float
    p95_ms: float


def distribution_of(ms: Floats, num_steps: Integers, count: int) -> Distribution:
    """The distribution of the times; `count` is the number of steps that they describe."""
    return Distribution(
        count=count,
        mean_ms=float(np.average(ms, weights=num_steps)),
        median_ms=weighted_quantile(ms, num_steps, 0.5),
        p95_ms=weighted_quantile(ms, num_steps, 0.95),
    )


def weighted_quantile(values: Floats, weights: Integers, share: float) -> float:
    """The quantile by linear interpolation, as if each value stood there `weights` times.

    With weights of one it is `numpy.quantile`. Needs at least one value; weights are positive.
    """
    order = np.argsort(values, kind="stable")
    last_place = np.cumsum(weights[order])
    place = share * float(last_place[-1] - 1)
    low, high = (
        float(values[order][np.searchsorted(last_place, rounded, side="right")])
        for rounded in (np.floor(place), np.ceil(place))
    )
    return low + (high - low) * (place - float(np.floor(place)))


def quantile(values: Any, share: float) -> float:
    """The quantile of plain values by linear interpolation."""
    return float(np.quantile(np.asarray(values, dtype="float64"), share))
