"""The clocks of a run, injected so that tests own the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time; `perf_ns` measures, `unix_s` dates."""

    def perf_ns(self) -> int:
        """Nanoseconds of a steady clock with any origin."""
        ...

    def unix_s(self) -> float:
        """Seconds since the epoch."""
        ...


class SystemClock:
    """The machine's own clocks."""

    perf_ns = staticmethod(time.perf_counter_ns)
    unix_s = staticmethod(time.time)
