"""What measures a stage: a timer takes marks now and tells the time between them later.

On a GPU the time between two marks is known only when the device has passed them, so that a timer
is asked `done` first and never waits. On the CPU every mark is done at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from vrtspike.profiling.clock import Clock

MS_DIGITS = 6
"""Milliseconds to the nanosecond."""

Mark = Any
"""A point in time; only the timer that took it knows what it is."""


@dataclass(slots=True)
class Interval:
    """The time that `name` took; `parent` is what it interrupted and must not be charged for it."""

    name: str
    parent: str | None
    start: Mark
    end: Mark


class Timer(Protocol):
    """Takes marks; tells the time between two of them once both are done."""

    clock: Literal["device", "host"]

    def mark(self) -> Mark:
        """A mark at this point of the program, or of the device's queue."""
        ...

    def done(self, mark: Mark) -> bool:
        """Whether the mark has been passed; never waits."""
        ...

    def elapsed_ms(self, start: Mark, end: Mark) -> float:
        """The time between two marks that are done."""
        ...

    def release(self, marks: Iterable[Mark]) -> None:
        """Takes marks back for use again."""
        ...

    def read(self, values: Sequence[Tensor | float]) -> Callable[[], list[float]]:
        """Scalars as they are now; to be called when a later mark is done."""
        ...

    def synchronize(self) -> None:
        """Waits for every mark; allowed at the end of a run only."""
        ...


class HostTimer:
    """Host time; everything is done at once."""

    clock: Literal["device", "host"] = "host"

    def __init__(self, clock: Clock) -> None:
        self.mark: Callable[[], Mark] = clock.perf_ns
        """The host's clock now, in ns; the clock's own function, since it is called most."""

    def done(self, mark: Mark) -> bool:
        """Always true."""
        return True

    def elapsed_ms(self, start: Mark, end: Mark) -> float:
        """The time between two marks."""
        return float(end - start) / 1e6

    def release(self, marks: Iterable[Mark]) -> None:
        """Host marks are numbers: nothing to take back."""

    def read(self, values: Sequence[Tensor | float]) -> Callable[[], list[float]]:
        """Scalars as they are now."""
        now = [scalar(value) for value in values]
        return lambda: now

    def synchronize(self) -> None:
        """Nothing is outstanding on the host."""


def sum_by_name(timer: Timer, intervals: Iterable[Interval]) -> dict[str, float]:
    """Milliseconds of each name, each without what interrupted it.

    Args:
        timer: The timer whose marks the intervals hold; all of them done.
        intervals: In any order.

    Returns:
        Names in the order of their first interval; the values sum to the time covered.
    """
    total: dict[str, float] = {}
    elapsed_ms = timer.elapsed_ms
    for interval in intervals:
        spent = elapsed_ms(interval.start, interval.end)
        total[interval.name] = total.get(interval.name, 0.0) + spent
        if interval.parent is not None:
            total[interval.parent] = total.get(interval.parent, 0.0) - spent
    return {name: round(ms, MS_DIGITS) for name, ms in total.items()}


def round_ms(ms: float) -> float:
    """Milliseconds to the nanosecond, which is all a clock has."""
    return round(ms, MS_DIGITS)


def scalar(value: Tensor | float) -> float:
    """A number, cut from the graph that made it; waits for a device that holds it."""
    return float(value.detach()) if isinstance(value, Tensor) else float(value)
