"""What a memory's course looks like: steady, creeping, in steps, or a saw-tooth, with its numbers.

The first fifth is left out, as by `growth_at_last`, which tells creep from everything that only
looks like it. Turns smaller than what matters are smoothed away by a zigzag; what is left are rises
and falls. Falls at even distances make a saw-tooth; what rises at once and stays makes steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import WARM_UP_SHARE
from diagnostics.analyses.late_growth import growth_at_last

Kind = Literal["steady", "creep", "steps", "saw-tooth", "settling", "uneven", "too short"]

LEAST_POINTS = 12
LEAST_BYTES = 32 << 20
"""Less than half an arena of the C library's allocator is no change."""
LEAST_SHARE = 0.02
"""Of the median: smaller turns are the breathing of any run."""
_TURN_SHARE = 0.4
"""Of the whole spread: a turn that counts."""
LEAST_TEETH = 3
_EVEN = 0.25
"""How far distances between teeth may be from their median, as its share; heights twice as far."""
_QUICK = 0.15
"""Of the distance: so long may half of a fall take."""
_MOSTLY = 0.75
"""So many of the teeth must be so."""
_SIDE = 5
"""Points on either side by which a level is told."""
_STEP_SHARE = 0.6
"""Of what was gained in all, what steps must explain."""
_LATE_SHARE = 0.67
"""Of the rise between the first and the middle third: what settles rises less after it."""
_NEAR_SHARE = 0.15
"""Of a tooth's length: so near is a fall to the event that causes it."""


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A change that came at once and stayed: at which step (or second), by how many bytes."""

    at: float
    size_bytes: float


@dataclass(frozen=True, kw_only=True)
class CourseShape:
    """The shape after warm-up. Places are steps where they are known, else seconds (`unit`).

    `rise_bytes` is what a creep gained in its last `span`, `per_unit_bytes` its rate. Of a
    saw-tooth, `tooth_bytes` is the median fall, `period` the distance of two, `num_teeth` their
    number, `floor_rise_bytes` what the lowest points rose by, and `mark` what happens where it
    falls (epoch, validation, checkpoint), None if nothing known does. `spread_bytes` is between the
    5th and the 95th percentile.
    """

    kind: Kind
    unit: Literal["steps", "s"]
    spread_bytes: float = 0.0
    rise_bytes: float = 0.0
    per_unit_bytes: float = 0.0
    span: float = 0.0
    jumps: tuple[Jump, ...] = ()
    num_jumps: int = 0
    tooth_bytes: float = 0.0
    period: float = 0.0
    num_teeth: int = 0
    floor_rise_bytes: float = 0.0
    mark: str | None = None


MAX_JUMPS = 4


def course_shape(
    at: Floats,
    values: Floats,
    unit: Literal["steps", "s"] = "steps",
    marks: Mapping[str, Floats] | None = None,
) -> CourseShape:
    """The shape of `values` (bytes) over `at`.

    Args:
        at: Steps or seconds, rising.
        values: As many sizes.
        unit: Of `at`.
        marks: Where epochs, validations and checkpoints were, in the same unit.
    """
    whole = at, values
    start = at[0] + WARM_UP_SHARE * (at[-1] - at[0]) if len(at) else 0.0
    at, values = at[at >= start], values[at >= start]
    if len(at) < LEAST_POINTS:
        return CourseShape(kind="too short", unit=unit)
    low, high = np.quantile(values, [0.05, 0.95])
    spread = float(high - low)
    least = max(LEAST_BYTES, LEAST_SHARE * float(np.median(values)))
    if float(np.ptp(values)) < least:
        return CourseShape(kind="steady", unit=unit, spread_bytes=spread)
    tooth = _saw_tooth(at, values, least, marks or {})
    if tooth is not None:
        return replace(tooth, unit=unit, spread_bytes=spread)
    jumps = _jumps(at, values, 0.5 * least)
    gained = abs(float(np.median(values[-_SIDE:]) - np.median(values[:_SIDE])))
    if jumps and abs(sum(jump.size_bytes for jump in jumps)) >= _STEP_SHARE * max(gained, least):
        largest = sorted(jumps, key=lambda jump: -abs(jump.size_bytes))[:MAX_JUMPS]
        return CourseShape(
            kind="steps",
            unit=unit,
            spread_bytes=spread,
            rise_bytes=sum(jump.size_bytes for jump in jumps),
            jumps=tuple(sorted(largest, key=lambda jump: jump.at)),
            num_jumps=len(jumps),
        )
    return _trend(whole, unit, spread, least)


def _trend(
    whole: tuple[Floats, Floats], unit: Literal["steps", "s"], spread: float, least: float
) -> CourseShape:
    trend = growth_at_last(*whole)
    if trend is not None and trend.grows and trend.rise >= least:
        return CourseShape(
            kind="creep",
            unit=unit,
            spread_bytes=spread,
            rise_bytes=trend.rise,
            per_unit_bytes=trend.slope,
            span=trend.last - trend.first,
        )
    rise = _settles(whole[1], spread, least)
    if rise is not None:
        return CourseShape(kind="settling", unit=unit, spread_bytes=spread, rise_bytes=rise)
    return CourseShape(kind="uneven", unit=unit, spread_bytes=float(np.ptp(whole[1])))


def _settles(values: Floats, spread: float, least: float) -> float | None:
    """The rise of a course that only rises, and less and less; None of any other."""
    thirds = [float(np.median(part)) for part in np.array_split(values, 3)]
    first, second = thirds[1] - thirds[0], thirds[2] - thirds[1]
    falls = -np.diff(values[zigzag(values, max(0.5 * least, _TURN_SHARE * spread))])
    is_rising = first >= least and second >= 0 and not (falls > 0).any()
    return thirds[2] - thirds[0] if is_rising and second <= _LATE_SHARE * first else None


def zigzag(values: Floats, threshold: float) -> list[int]:
    """Places of the tops and bottoms that lie at least a threshold apart, in turn."""
    turns, top, bottom, direction = [0], 0, 0, 0
    for place, value in enumerate(values):
        if value > values[top]:
            top = place
        if value < values[bottom]:
            bottom = place
        if direction >= 0 and values[top] - value >= threshold:
            turns += [top] if top != turns[-1] else []
            direction, bottom = -1, place
            top = place
        elif direction <= 0 and value - values[bottom] >= threshold:
            turns += [bottom] if bottom != turns[-1] else []
            direction, top = 1, place
            bottom = place
    last = top if direction > 0 else bottom if direction < 0 else len(values) - 1
    return turns if last == turns[-1] else [*turns, last]


def _saw_tooth(
    at: Floats, values: Floats, least: float, marks: Mapping[str, Floats]
) -> CourseShape | None:
    """Quick falls at even distances; None where there are few, or they come as they like.

    They are looked for beside a straight line, so that a floor that rises hides none.
    """
    beside = values - np.polyval(np.polyfit(at - at[0], values, 1), at - at[0])
    spread = float(np.quantile(beside, 0.95) - np.quantile(beside, 0.05))
    turns = zigzag(beside, max(0.5 * least, _TURN_SHARE * spread))
    falls = [(a, b) for a, b in pairwise(turns) if beside[b] < beside[a]]
    if len(falls) < LEAST_TEETH:
        return None
    distances = np.diff([at[top] for top, _ in falls])
    period = float(np.median(distances))
    heights = np.array([beside[top] - beside[bottom] for top, bottom in falls])
    quick = [_half_way(at, beside, top, bottom) <= _QUICK * period for top, bottom in falls]
    if period <= 0 or float(np.mean(quick)) < _MOSTLY:
        return None
    if not (_are_even(distances, _EVEN) and _are_even(heights, 2 * _EVEN)):
        return None
    bottoms = [bottom for _, bottom in falls]
    floor = values[bottoms]
    return CourseShape(
        kind="saw-tooth",
        unit="steps",
        tooth_bytes=float(np.median(heights)),
        period=period,
        num_teeth=len(falls),
        floor_rise_bytes=float(np.median(floor[-2:]) - np.median(floor[:2])),
        mark=_mark_of(at, falls, period, marks),
    )


def _are_even(values: Floats, share: float) -> bool:
    middle = float(np.median(values))
    return float(np.mean(np.abs(values - middle) <= share * middle)) >= _MOSTLY


def _half_way(at: Floats, values: Floats, top: int, bottom: int) -> float:
    """How long a fall takes to come down half."""
    middle = (values[top] + values[bottom]) / 2
    below = np.flatnonzero(values[top : bottom + 1] <= middle)
    return float(at[top + below[0]] - at[top])


def _mark_of(
    at: Floats, falls: list[tuple[int, int]], period: float, marks: Mapping[str, Floats]
) -> str | None:
    """What most of the falls are next to; of several the one that comes as often as they do."""
    found = {}
    for name, places in marks.items():
        if not len(places):
            continue
        near = sum(
            bool(
                np.any(
                    (places >= at[top] - _NEAR_SHARE * period)
                    & (places <= at[bottom] + _NEAR_SHARE * period)
                )
            )
            for top, bottom in falls
        )
        if near >= 0.8 * len(falls):
            found[name] = abs(len(places) - len(falls))
    return min(found, key=lambda name: found[name], default=None)


def _jumps(at: Floats, values: Floats, least: float) -> list[Jump]:
    """Changes between two neighbours that the levels on both sides keep."""
    moves = np.diff(values)
    usual = 1.4826 * float(np.median(np.abs(moves - np.median(moves))))
    found: list[Jump] = []
    for place in np.flatnonzero(np.abs(moves) >= max(least, 8 * usual)):
        before = values[max(0, place + 1 - _SIDE) : place + 1]
        after = values[place + 1 : place + 1 + _SIDE]
        kept = float(np.median(after) - np.median(before))
        if kept * moves[place] > 0 and abs(kept) >= 0.7 * abs(float(moves[place])):
            found.append(Jump(at=float(at[place + 1]), size_bytes=float(moves[place])))
    return found
