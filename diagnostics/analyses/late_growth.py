"""Growth that begins late: a run that was sound for hours, and loses memory from then on.

Over the whole of such a run a straight line tells little, and what grows only at its end looks like
a jump. So where the whole does not grow, ever shorter parts at its end are looked at. They are held
more strictly, since a rise of some length is nothing new in memory that comes and goes: growth must
be beyond doubt there, faster than before it, and lead to a height that was not reached before.
"""

from itertools import takewhile

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import GrowthTrend, growth_trend

_SHARES = tuple(0.8**n for n in range(1, 11))
"""Parts at the end that are looked at, of the whole time."""
LEAST_POINTS = 60
"""Of a part."""
_SURE_SHARE = 0.5
"""Of the growth that is seen: so much must be sure."""
_NEW_SHARE = 0.75
"""Of the rise: so much must lie above whatever was held before."""
_BEFORE_SHARE = 0.5
"""Of the rate: faster than that before it, memory only settles."""
_PEAK = 0.95
"""What was held before is that quantile: the peak of a checkpoint is none that counts."""
_ENDS = 8
"""Levels are medians of such a part of the points."""


def growth_at_last(times: Floats, values: Floats) -> GrowthTrend | None:
    """The growth of the whole (`growth_trend`), or else of the longest part at its end that grows.

    Raises:
        ValueError: The two differ in length.
    """
    whole = growth_trend(times, values)
    if whole is None or whole.grows:
        return whole
    is_known = np.isfinite(times) & np.isfinite(values)
    order = np.argsort(times[is_known], kind="stable")
    times, values = times[is_known][order], values[is_known][order]
    spans = float(np.ptp(times)) * np.array(_SHARES)
    parts = (times >= times.max() - span for span in spans)
    for is_late in takewhile(lambda part: part.sum() >= LEAST_POINTS, parts):
        found = growth_trend(times[is_late], values[is_late])
        if found is not None and found.grows and _is_new(found, times, values):
            return found
    return whole


def _is_new(found: GrowthTrend, times: Floats, values: Floats) -> bool:
    """Whether it is sure, leads higher than before, and is more than the end of a warm-up."""
    if found.low < _SURE_SHARE * found.slope:
        return False
    is_before = times < found.first
    before, after = values[is_before], values[~is_before]
    if len(before) < 2 * _ENDS:
        return True
    higher = _level(after[-len(after) // _ENDS :]) - float(np.quantile(before, _PEAK))
    near = before[times[is_before] >= found.first - (found.last - found.first)]
    ends = max(1, len(near) // _ENDS)
    rise_before = _level(near[-ends:]) - _level(near[:ends])
    expected = found.slope * (found.last - found.first) * len(near) / len(after)
    return higher >= _NEW_SHARE * found.rise and rise_before < _BEFORE_SHARE * expected


def _level(values: Floats) -> float:
    return float(np.median(values))
