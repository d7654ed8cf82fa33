"""When a run stands still: no step has ended for far longer than steps take."""

from collections.abc import Callable
from dataclasses import dataclass

HANG_MEDIANS = 10.0
"""A step this many times the median is no slow step any more."""
QUIET_LIMIT_S = 600.0
"""Least limit where pauses are long: validation, checkpoints, compilation, the first steps."""
MIN_STEPS = 5
"""Until so many steps have ended, nobody knows how long one takes."""


@dataclass(frozen=True, slots=True)
class Hang:
    """A standstill; `span` names what ran outside the steps, if anything did."""

    step: int
    waited_s: float
    limit_s: float
    span: str | None


class HangWatch:
    """Told of every step and span by the training thread, asked by another; takes no lock.

    Args:
        perf_ns: A steady clock.
        least_s: The shortest standstill that counts as a hang.
    """

    def __init__(self, perf_ns: Callable[[], int], least_s: float) -> None:
        self._perf_ns = perf_ns
        self._least_s = least_s
        self._last_ns = perf_ns()
        self._steps_ended = 0
        self._in_step = False
        self._spans: list[str] = []
        self._told: int | None = None
        self.step = 0

    def step_begins(self, step: int) -> None:
        """A step has begun."""
        self.step = step
        self._in_step = True
        self._last_ns = self._perf_ns()

    def step_ends(self) -> float | None:
        """A step has ended; the seconds it took, if it was taken for a hang."""
        self._in_step = False
        self._steps_ended += 1
        return self._move_on()

    def span_begins(self, name: str) -> None:
        """Something outside the steps has begun."""
        self._spans.append(name)
        self._last_ns = self._perf_ns()

    def span_ends(self) -> float | None:
        """It has ended; the seconds it took, if it was taken for a hang."""
        if self._spans:
            self._spans.pop()
        return self._move_on()

    def elapsed_s(self) -> float | None:
        """For how long the running step has run; None outside steps."""
        return self._waited_s() if self._in_step and not self._spans else None

    def limit_s(self, median_ms: float | None) -> float:
        """How long a standstill may last now."""
        usual_s = HANG_MEDIANS * (median_ms or 0.0) / 1e3
        known = self._steps_ended >= MIN_STEPS and median_ms is not None
        ordinary = known and self._in_step and not self._spans
        return max(usual_s, self._least_s if ordinary else max(QUIET_LIMIT_S, self._least_s))

    def check(
        self, median_ms: float | None, is_compiling: Callable[[], bool] = lambda: False
    ) -> Hang | None:
        """Says, once for each standstill, that the run stands still.

        Args:
            median_ms: The median of the last steps.
            is_compiling: Asked only when the limit is passed; then the longer limit holds.
        """
        began, waited_s, limit_s = self._last_ns, self._waited_s(), self.limit_s(median_ms)
        if self._told == began or waited_s <= limit_s:
            return None
        if waited_s <= QUIET_LIMIT_S and is_compiling():
            return None
        self._told = began
        span = self._spans[-1] if self._spans else None
        return Hang(self.step, waited_s, limit_s, span)

    def _move_on(self) -> float | None:
        began, self._last_ns = self._last_ns, self._perf_ns()
        return (self._last_ns - began) / 1e9 if self._told == began else None

    def _waited_s(self) -> float:
        return (self._perf_ns() - self._last_ns) / 1e9
