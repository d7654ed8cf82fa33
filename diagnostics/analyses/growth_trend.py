"""Whether a memory grows steadily, as a leak does: apart from its start, its jumps and its teeth.

Use it for the memory of one thing (a process, /dev/shm, an allocator) over steps or over seconds:

    trend = growth_trend(times, values)
    if trend is not None and trend.grows and trend.rise >= least_bytes:
        say(..., rate=trend.slope)          # in units of `values` for each unit of `times`

`times` may be steps or seconds, in any order; values that are NaN are left out. None means that
there are too few points to say anything, `grows` False that no steady growth is seen, for the
reason in `shape`. It knows nothing of sizes: hold `rise` or `slope` against a limit of your own.
Give it the processes one by one where they are known. A sum over processes is judged as well, but a
process that starts and stays is a jump there, and one that ends for good hides growth.

How it decides. The first fifth is left out. The rest is cut into at most 48 blocks of equally many
points, each with its floor (the lower quartile, since what is used for a moment comes on top), so
that growth is the rate from floor to floor. Rates far from the others (beyond 6 robust deviations
from their median, and beyond twice the median) are jumps and falls and count as what is usual; of
the rise is taken back what falls have beyond jumps. It grows, if

* the line through the floors, with jumps taken out, rises by a one-sided test at 0.2 % that counts
  neighbours which are alike as fewer points (else it is unclear: a walk without aim looks so);
* falls take back less than half of the rise, or it is a saw-tooth: of n + 1 rises that n falls take
  back to the start at most one is left;
* its second half rises at least two thirds as fast as the whole, or it is settling: a course that
  nears its end exponentially is told so if its time constant is at most 0.7 of the window.

What is said of growth is said of one stretch: from where it begins, as far as a line with a bend
tells, to the end.

All limits are own choices, made on recorded runs and on planted leaks.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.student_t import quantile

LEAST_POINTS = 8
"""With fewer points a jump and growth look alike."""

WARM_UP_SHARE = 0.2
"""Of the time, at its start: what happens there is not looked at."""
_FEW_BLOCKS, _MANY_BLOCKS, _POINTS_OF_BLOCK = 24, 48, 8
_FLOOR_SHARE = 0.25
_JUMP_DEVIATIONS = 6.0
_NORMAL_MAD = 1.4826
_CONFIDENCE = 0.998
_LEAST_FREEDOM = 2.0
"""What a nearly straight line misses is all alike, and yet it is straight."""
_ROUNDING = 1e-24
_NOTHING, _MOST = 1e-150, 1e150
"""Beyond them squares leave the range of floats."""
_MOST_TURN = 1.5
"""A shift in the middle of a line turns it by that, over its length."""
_KEPT_SHARE = 0.5
_LATE_SHARE = 2 / 3
_LEAST_BLOCKS = 8
"""Behind a bend: with fewer of them it would follow their noise."""
_BEND_SHARE = 0.01
"""Of the rise: what misses a straight line by less needs no bend."""
_STRAIGHTER = 0.5
"""A line with a bend must miss less than this share of the squares that a straight one misses."""

Shape = Literal["growing", "level", "unclear", "saw-tooth", "settling"]
"""Of what `grows` is False: "level" does not rise at all, "unclear" not surely."""


@dataclass(frozen=True, kw_only=True)
class GrowthTrend:
    """Of one stretch of time, from `first` to `last`: after warm-up, or from where growth began.

    `slope` is the growth for each unit of time without jumps and less what falls took back, `low`
    what it surely is, `rise` the growth from `first` to `last` at that rate. `jumps` is the sum of
    what rose at once and stayed. Without growth these say what was seen of it.
    """

    shape: Shape
    slope: float
    low: float
    rise: float
    jumps: float
    first: float
    last: float
    num_points: int

    @property
    def grows(self) -> bool:
        """Whether it grows steadily."""
        return self.shape == "growing"


def growth_trend(times: Floats, values: Floats) -> GrowthTrend | None:
    """The steady growth of `values` over `times`; None with too few points or different times.

    Raises:
        ValueError: The two differ in length.
    """
    if len(times) != len(values):
        raise ValueError(f"times has {len(times)} values, values {len(values)}")
    times, values = _window(np.asarray(times, "float64"), np.asarray(values, "float64"))
    if len(times) < LEAST_POINTS:
        return None
    at, floors = _floors(times, values)
    spans = np.diff(at)
    if not (spans > 0).all():
        return None
    rates = np.diff(floors) / spans
    trend = _judge(times, at, rates)
    if not trend.grows:
        return trend
    begin = _bend(at, _clipped_level(rates, spans))
    grown = _judge(times[times >= at[begin]], at[begin:], rates[begin:]) if begin else trend
    return replace(grown, shape="growing") if grown.slope > trend.slope else trend


def _judge(times: Floats, at: Floats, rates: Floats) -> GrowthTrend:
    steady = _without_jumps(rates, np.diff(at))
    gradual = float(steady.level[-1])
    kept = gradual - max(0.0, steady.falls - steady.jumps)
    line = _line(at, steady)
    late = _line(at[len(at) // 2 :], replace(steady, level=steady.level[len(at) // 2 :]))
    slope = kept / float(np.ptp(at))
    return GrowthTrend(
        shape=_shape(line, kept / gradual if gradual > 0 else 0.0, late.slope),
        slope=slope,
        low=line.low,
        rise=slope * float(times[-1] - times[0]),
        jumps=max(0.0, steady.jumps - steady.falls),
        first=float(times[0]),
        last=float(times[-1]),
        num_points=len(times),
    )


@dataclass(frozen=True, kw_only=True)
class _Steady:
    """The level at each block without jumps; what rose and fell at once, and what that hides."""

    level: Floats
    jumps: float
    falls: float
    doubt: float


@dataclass(frozen=True)
class _Line:
    """A slope, and what it surely is."""

    slope: float
    low: float


def _shape(line: _Line, kept_share: float, late: float) -> Shape:
    if line.slope <= 0:
        return "level"
    if line.low <= 0:
        return "unclear"
    if kept_share < _KEPT_SHARE:
        return "saw-tooth"
    return "growing" if late >= _LATE_SHARE * line.slope else "settling"


def _clipped_level(rates: Floats, spans: Floats) -> Floats:
    """The level with jumps cut short; a stretch that stays flat is no jump here."""
    middle, most = _usual(rates)
    return np.concatenate([[0.0], np.cumsum(np.clip(rates, -most, middle + most) * spans)])


def _bend(at: Floats, level: Floats) -> int:
    """The block at which growth begins: where what is flat before bends to a line; 0 for none."""
    missed = [_missed(np.maximum(0.0, at - begin), level) for begin in at[: 1 - _LEAST_BLOCKS]]
    best = int(np.argmin(missed)) if missed else 0
    is_bent = missed[0] > (_BEND_SHARE * float(np.ptp(level))) ** 2 if missed else False
    return best if is_bent and missed[best] < _STRAIGHTER * missed[0] else 0


def _missed(x: Floats, level: Floats) -> float:
    """Mean square of what a line over `x` misses of the level."""
    x, y = x - x.mean(), level - level.mean()
    rest = y - x * float((x * y).sum()) / float((x * x).sum())
    return float((rest * rest).mean())


def _line(at: Floats, steady: _Steady) -> _Line:
    """By least squares.

    Each of n points counts as (1 - r) / (1 + r) of one where what the line misses has the
    correlation r from point to point, corrected for its bias in short series (Kendall).
    """
    scale = max(float(np.abs(steady.level).max()), steady.doubt)
    if scale < _NOTHING:
        return _Line(0.0, 0.0)
    level, count, x = steady.level / scale, len(at), at - at.mean()
    square = float((x * x).sum())
    slope = float((x * level).sum()) / square
    missed = level - level.mean() - slope * x
    # What rounding leaves of a straight line is no doubt about it.
    missed_square = max(_ROUNDING * count, float((missed * missed).sum()))
    found = max(0.0, float((missed[1:] * missed[:-1]).sum()) / missed_square)
    correlation = min(1.0, found + (1 + 4 * found) / count)
    freedom = max(_LEAST_FREEDOM, count * (1 - correlation) / (1 + correlation) - 2)
    error = math.hypot(
        math.sqrt(missed_square / freedom / square),
        _MOST_TURN * steady.doubt / scale / float(np.ptp(at)),
    )
    return _Line(scale * slope, scale * (slope - quantile(_CONFIDENCE, freedom) * error))


def _window(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """What is known, in order of time, without warm-up."""
    is_known = (np.abs(times) < _MOST) & (np.abs(values) < _MOST)
    times, values = times[is_known], values[is_known]
    if not len(times):
        return times, values
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    is_warm = times >= times[0] + WARM_UP_SHARE * (times[-1] - times[0])
    return times[is_warm], values[is_warm]


def _floors(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Mean time and lower quartile of each block."""
    wanted = min(_MANY_BLOCKS, max(_FEW_BLOCKS, len(times) // _POINTS_OF_BLOCK))
    size = -(-len(times) // wanted)
    # The last blocks are whole: blocks of different sizes have different floors.
    starts = range(len(times) % size, len(times), size)
    blocks = [slice(start, start + size) for start in starts]
    return (
        np.array([times[block].mean() for block in blocks]),
        np.array([np.quantile(values[block], _FLOOR_SHARE) for block in blocks]),
    )


def _without_jumps(rates: Floats, spans: Floats) -> _Steady:
    """A jump within a block shows in two rates, one of them small at times: neighbours go too."""
    middle, most = _usual(rates)
    is_jump = np.abs(rates - middle) > most
    is_near = is_jump | np.append(is_jump[1:], False) | np.append(False, is_jump[:-1])
    beyond = np.where(is_near, (rates - middle) * spans, 0.0)
    changes = np.where(is_near, middle, rates) * spans
    return _Steady(
        level=np.concatenate([[0.0], np.cumsum(changes)]),
        jumps=float(beyond[beyond > 0].sum()),
        falls=float(-beyond[beyond < 0].sum()),
        doubt=float(np.sqrt(is_near.sum())) * _spread(rates) * float(np.median(spans)),
    )


def _usual(rates: Floats) -> tuple[float, float]:
    """The usual rate, and how far from it one may be without being a jump."""
    middle = float(np.median(rates))
    return middle, max(_JUMP_DEVIATIONS * _spread(rates), abs(middle))


def _spread(rates: Floats) -> float:
    """A robust standard deviation."""
    return _NORMAL_MAD * float(np.median(np.abs(rates - np.median(rates))))
