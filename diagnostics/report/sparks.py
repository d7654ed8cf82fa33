"""A course as one line of characters: its height at each place of the time axis."""

import numpy as np

from diagnostics.analyses.distribution import Floats

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*%#"
UNKNOWN = " "


def bars_for(encoding: str | None) -> str:
    """The characters, from low to high, that an encoding can write."""
    try:
        _BARS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _PLAIN_BARS
    return _BARS


def spark(
    at: Floats, values: Floats, width: int, span: tuple[float, float], bars: str = _BARS
) -> str:
    """The largest value in each of `width` equal stretches of time, as a character.

    Args:
        at: Times of the values, rising.
        values: NaN where unknown; a stretch without a value is blank.
        width: Characters, at most; there are no more of them than values.
        span: What the lowest and the highest character stand for.
        bars: From low to high.
    """
    known = np.isfinite(values)
    width = min(width, len(at))
    if not known.any() or width < 1:
        return UNKNOWN * max(0, width)
    low, high = span
    seen = float(at[-1] - at[0])
    shares = (at - at[0]) / seen if seen > 0 else np.ones(len(at))
    places = np.minimum(width - 1, (shares * width).astype(int))
    drawn = []
    for place in range(width):
        here = values[(places == place) & known]
        drawn.append(UNKNOWN if not len(here) else _bar(float(here.max()), low, high, bars))
    return "".join(drawn)


def _bar(value: float, low: float, high: float, bars: str) -> str:
    share = (value - low) / (high - low) if high > low else 0.0
    return bars[min(len(bars) - 1, max(0, int(share * len(bars))))]
