"""Axes of charts: where their marks are and what stands at them. Pure arithmetic."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from diagnostics.language import say
from diagnostics.report import html_words as words
from diagnostics.report import units
from diagnostics.report.series_buckets import LARGEST

_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_BINARY = 1024.0
_HEADROOM = 1.02
_SMALLEST = 1e-9


@dataclass(frozen=True)
class Tick:
    """A mark at a share of the axis (0 begins it, 1 ends it), with its label."""

    place: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A range of values on an axis."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """The value's share of the axis, within 0 and 1."""
        span = self.high - self.low
        return min(1.0, max(0.0, (value - self.low) / span)) if span > 0 else 0.0


def from_zero(peak: float) -> Scale:
    """A scale from 0 to a little above the peak."""
    return Scale(0.0, min(peak * _HEADROOM, LARGEST) if peak > _SMALLEST else 1.0)


def value_ticks(scale: Scale, unit: str, wanted: int = 4) -> tuple[Tick, ...]:
    """Round values of the unit: ms, bytes, percent, W."""
    if unit == "bytes":
        power = int(math.log(max(scale.high, 1.0), _BINARY))
        factor = _BINARY**power
        values = [value * factor for value in _round_values(scale.high / factor, wanted)]
    else:
        values = list(_round_values(scale.high, wanted))
    return tuple(Tick(scale.place(value), value_label(value, unit)) for value in values)


def value_label(value: float, unit: str) -> str:
    """A value of an axis or a course with its unit."""
    if unit == "bytes":
        return units.size(value) if value else "0"
    if unit == "percent":
        return f"{value:.0f} %"
    return f"{units.ms(value) if unit == 'ms' and value % 1 else f'{value:,.0f}'} {unit}"


def _round_values(high: float, wanted: int) -> Iterator[float]:
    step = _round_step(high / wanted)
    for number in range(int(high / step + 1e-9) + 1):
        yield number * step


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten that is not smaller."""
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))


def step_ticks(scale: Scale, wanted: int = 5) -> tuple[Tick, ...]:
    """Round step numbers."""
    stride = max(1, int(_round_step((scale.high - scale.low) / wanted)))
    first = math.ceil(scale.low / stride) * stride
    numbers = range(first, math.ceil(scale.high), stride)
    return tuple(Tick(scale.place(number), _step_label(number, first)) for number in numbers)


def _step_label(number: int, first: int) -> str:
    """The first mark says what is counted."""
    shown = f"{number:,}"
    return say(words.STEP_ONE, first=shown) if number == first else shown


def time_ticks(scale: Scale, wanted: int = 4) -> tuple[Tick, ...]:
    """Round times of a run that began at 0 s."""
    rough = (scale.high - scale.low) / wanted
    if rough < _SECONDS[0]:
        stride = _round_step(rough) if rough > 0 else 1.0
    else:
        days = math.ceil(rough / _SECONDS[-1]) * _SECONDS[-1]
        stride = float(next((each for each in _SECONDS if each >= rough), days))
    first = math.ceil(scale.low / stride - 1e-9)
    numbers = range(first, int(scale.high / stride + 1e-9) + 1)
    return tuple(Tick(scale.place(n * stride), duration(n * stride)) for n in numbers)


def duration(seconds: float) -> str:
    """A time since the start: `2.5 s`, `4 min`, `4:30 min`, `2:05 h`."""
    if seconds < 60:
        return say(words.SECONDS, time=f"{seconds:.3g}")
    whole = round(seconds)
    template, (units_up, rest) = (
        (words.MINUTES, divmod(whole, 60))
        if whole < 3600
        else (words.HOURS, divmod(whole // 60, 60))
    )
    return say(template, time=f"{units_up}:{rest:02d}" if rest else str(units_up))
