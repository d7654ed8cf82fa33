"""Reads PSS and USS of many processes seldom, within a budget, beside the sampler's grid.

The kernel walks page tables for it: 3-40 ms a large process. A thread of its own does so, hence a
sweep over a hundred loading processes delays no sample.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from vrtspike.profiling.process_files import Identity, ProportionalSizes, proportional_sizes

PSS_EVERY_S = 10.0
"""The shortest time between two sweeps."""

MAX_CORE_SHARE = 0.001
"""Of one core: a sweep that cost 50 ms is followed by none for 50 s."""

Sizes = Mapping[Identity, ProportionalSizes]
"""What a sweep read, by process."""


class SweepBudget:
    """When the next sweep may begin, from what the last one cost."""

    def __init__(
        self, every_s: float = PSS_EVERY_S, max_core_share: float = MAX_CORE_SHARE
    ) -> None:
        self._every_s = every_s
        self._max_core_share = max_core_share
        self._next_s = 0.0

    def is_due(self, now_s: float) -> bool:
        """Whether a sweep may begin."""
        return now_s >= self._next_s

    def spent(self, began_s: float, cpu_s: float) -> None:
        """Says when a sweep began and what CPU time it took."""
        self._next_s = began_s + max(self._every_s, cpu_s / self._max_core_share)


class PssSweep:
    """Sweeps when the budget allows; `take` hands out each sweep's result once.

    Args:
        budget: Says when.
        read: Reads one process; replaced in tests.
    """

    def __init__(
        self,
        budget: SweepBudget | None = None,
        read: Callable[[int], ProportionalSizes | None] = proportional_sizes,
    ) -> None:
        self._budget = budget or SweepBudget()
        self._read = read
        self._thread: threading.Thread | None = None
        self._result: Sizes | None = None
        self.cpu_s = 0.0
        """CPU time that all sweeps took together."""

    def offer(self, processes: Iterable[Identity], now_s: float) -> None:
        """Begins a sweep over the processes if one is due and none is under way."""
        if self._thread is None and self._budget.is_due(now_s):
            found = tuple(processes)
            self._thread = threading.Thread(
                target=self._sweep, args=(found, now_s), name="pss", daemon=True
            )
            self._thread.start()

    def take(self) -> Sizes:
        """The sizes of a sweep that has ended since the last call, else nothing."""
        if self._thread is None or self._thread.is_alive():
            return {}
        self._thread = None
        result, self._result = self._result, None
        return result or {}

    def join(self) -> None:
        """Waits for a sweep under way."""
        if self._thread is not None:
            self._thread.join()

    def _sweep(self, processes: tuple[Identity, ...], began_s: float) -> None:
        start_ns = time.thread_time_ns()
        read = {each: self._read(each.pid) for each in processes}
        self._result = {each: sizes for each, sizes in read.items() if sizes is not None}
        cpu_s = (time.thread_time_ns() - start_ns) / 1e9
        self.cpu_s += cpu_s
        self._budget.spent(began_s, cpu_s)
