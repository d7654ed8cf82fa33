"""How much rarer something outside the steps has to be, so that it takes a wanted share of time."""

import math

from diagnostics.rules.finding import ConfigChange, Gain


def rarer(every: int, wall_share: float, wanted_share: float) -> int:
    """The interval in steps at which it takes `wanted_share`; rounded up to two digits.

    Its time over the rest is `share / (1 - share)`, and falls with the interval.
    """
    now, wanted = (share / (1 - min(share, 0.999)) for share in (wall_share, wanted_share))
    interval = every * now / wanted
    scale = int(10 ** max(0, math.floor(math.log10(interval)) - 1))
    return math.ceil(interval / scale) * scale


def rarer_setting(key: str, every: int, proposed: int, ms: float) -> tuple[ConfigChange, Gain]:
    """The switch to a rarer interval, and what it saves of the `ms` that each step pays for it."""
    saved_ms = ms * (1 - every / proposed)
    change = ConfigChange(key=key, current=every, proposed=proposed)
    return change, Gain(low_ms=saved_ms, mid_ms=saved_ms, high_ms=saved_ms)
