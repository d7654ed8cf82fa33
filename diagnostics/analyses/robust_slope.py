"""The Theil-Sen slope: the median of the slopes of all pairs of points, with its interval.

A jump of up to 29 % of the points does not move it. Source: Sen, "Estimates of the regression
coefficient based on Kendall's tau", 1968; the interval takes the points as independent, so that it
is too narrow for strongly autocorrelated courses.
"""

from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.distribution import Floats

MAX_POINTS = 300
"""More points are first merged to medians of equal blocks: pairs grow with the square."""

_Z_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Slope:
    """Change of y for each unit of x, with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


def theil_sen(x: Floats, y: Floats) -> Slope | None:
    """The slope of the points; None with fewer than three different x.

    Raises:
        ValueError: x and y differ in length.
    """
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} values, y {len(y)}")
    x, y = _merged(x, y)
    if len(np.unique(x)) < 3:
        return None
    first, second = np.triu_indices(len(x), k=1)
    run = x[second] - x[first]
    has_run = run != 0
    slopes = np.sort((y[second] - y[first])[has_run] / run[has_run])
    low, high = _interval_places(len(x), len(slopes))
    return Slope(value=float(np.median(slopes)), low=float(slopes[low]), high=float(slopes[high]))


def _interval_places(num_points: int, num_slopes: int) -> tuple[int, int]:
    spread = _Z_95 * np.sqrt(num_points * (num_points - 1) * (2 * num_points + 5) / 18)
    low = max(0, int(np.floor((num_slopes - spread) / 2)))
    return low, min(num_slopes - 1, int(np.ceil((num_slopes + spread) / 2)))


def _merged(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if len(x) <= MAX_POINTS:
        return x, y
    blocks = np.array_split(np.arange(len(x)), MAX_POINTS)
    return (
        np.array([np.median(x[block]) for block in blocks]),
        np.array([np.median(y[block]) for block in blocks]),
    )
