"""How often the machine is sampled: as asked, unless that costs too much CPU or disk.

Long runs on large machines would otherwise fill the disk: five samples a second of a hundred
loading processes are 200 MiB an hour.
"""

MAX_CORE_SHARE = 0.02
"""Of one core, for the whole sampler; above it the interval doubles."""

JUDGED_OVER_S = 10.0
"""The share is that of so much time."""

BYTES_UNTIL_SLOWER = 64 << 20
"""The interval doubles when the file has grown so large, and at each further doubling of the file:
its size then grows with the square root of the time."""


class SamplingPace:
    """The interval between samples, lengthened as they turn out costly.

    Args:
        interval_s: What was asked for.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._max_bytes = BYTES_UNTIL_SLOWER
        self._since_s: float | None = None
        self._cpu_then_s = 0.0

    def judge(self, now_s: float, cpu_s: float, num_bytes: int) -> str | None:
        """Says what has been spent; returns why the interval doubles, if it does.

        Args:
            now_s: A steady clock.
            cpu_s: The sampler's CPU time so far.
            num_bytes: What it has written so far.
        """
        if self._since_s is None:
            # What starting took is spent once; only what sampling takes counts.
            self._since_s, self._cpu_then_s = now_s, cpu_s
        reason = None
        if num_bytes >= self._max_bytes:
            self._max_bytes *= 2
            reason = f"{num_bytes >> 20} MiB written"
        elapsed_s = now_s - self._since_s
        if elapsed_s >= JUDGED_OVER_S:
            share = (cpu_s - self._cpu_then_s) / elapsed_s
            self._since_s, self._cpu_then_s = now_s, cpu_s
            if share > MAX_CORE_SHARE:
                reason = f"sampling takes {share:.1%} of a core"
        if reason is not None:
            self.interval_s *= 2
        return reason
