"""Which step is too slow to be chance: far from the median of the last steps, by two measures.

A step counts as slow when it takes more than `MIN_RATIO` times the median and lies more than
`NUM_MADS` median absolute deviations (MAD) above it. The MAD alone would call jitter slow where
steps hardly differ, the ratio alone would do so where they always differ. For normally
distributed times 10 MAD are 6.7 standard deviations; both median and MAD bear up to half of the
window being outliers (Hampel's identifier, 1974, with a wider limit).
"""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

WINDOW_STEPS = 101
MIN_STEPS = 20
"""Fewer steps than this say nothing about what is usual."""
MIN_RATIO = 2.0
NUM_MADS = 10.0


@dataclass(frozen=True, slots=True)
class SlowStep:
    """How far a step lies from the others; times in ms, `ratio` is of the median."""

    ms: float
    median_ms: float
    mad_ms: float

    @property
    def ratio(self) -> float:
        """How many times the median it took."""
        return self.ms / self.median_ms


class StepTimes:
    """The times of the last `WINDOW_STEPS` ordinary steps, kept sorted."""

    def __init__(self) -> None:
        self._in_order: deque[float] = deque()
        self._sorted: list[float] = []

    @property
    def median_ms(self) -> float | None:
        """The median; None before `MIN_STEPS` steps."""
        count = len(self._sorted)
        return self._sorted[count // 2] if count >= MIN_STEPS else None

    def judge(self, ms: float) -> SlowStep | None:
        """Says whether a step is slow against those before it, and counts it as one of them."""
        slow = self._slow(ms)
        if len(self._in_order) == WINDOW_STEPS:
            del self._sorted[bisect_left(self._sorted, self._in_order.popleft())]
        self._in_order.append(ms)
        insort(self._sorted, ms)
        return slow

    def _slow(self, ms: float) -> SlowStep | None:
        median_ms = self.median_ms
        if median_ms is None or median_ms <= 0 or ms <= MIN_RATIO * median_ms:
            return None
        deviations = sorted(abs(each - median_ms) for each in self._sorted)
        mad_ms = deviations[len(deviations) // 2]
        return SlowStep(ms, median_ms, mad_ms) if ms > median_ms + NUM_MADS * mad_ms else None
