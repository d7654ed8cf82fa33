"""How numbers are written for people: the only place where units are converted."""

import math

from diagnostics.language import say
from diagnostics.rules.finding import Value

UNKNOWN = "-"
SMALL_RATE, _MOST_DIGITS = 0.1, 9
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def ms(value: float | None) -> str:
    """Milliseconds with as many digits as a table can use."""
    if value is None:
        return UNKNOWN
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def share(value: float | None) -> str:
    """A share of 0..1 in per cent."""
    return UNKNOWN if value is None else f"{value:.1%}"


def size(value: float | None) -> str:
    """Bytes in the largest binary unit that leaves a number above one."""
    if value is None:
        return UNKNOWN
    scaled, units = float(value), list(_BINARY)
    while abs(scaled) >= 1024 and len(units) > 1:
        scaled /= 1024
        units.pop(0)
    digits = 0 if units[0] == "B" or abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    return f"{scaled:.{digits}f} {units[0]}"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def rate(value: float | None, like: float | None = None) -> str:
    """Samples for each second: two decimals, and of a slow run three digits that tell something.

    `like` is the rate whose digits it gets, by default its own.
    """
    if value is None:
        return UNKNOWN
    size = abs(value if like is None else like)
    small = 0 < size < SMALL_RATE
    digits = min(_MOST_DIGITS, 2 - math.floor(math.log10(size))) if small else 2
    return f"{value:.{digits}f}"


def with_unit(value: Value, unit: str) -> str:
    """A value of an evidence, by its unit."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    if unit == "share":
        return share(value)
    if unit == "bytes":
        return size(value)
    if unit == "bytes/step":
        return say("{size} per step", size=size(value))
    spelled = {
        "percent": f"{value:.0f} %",
        "ms": say("{ms} ms", ms=ms(value)),
        "db": f"{value:.2f} dB",
    }
    if unit in spelled:
        return spelled[unit]
    return f"{value:g} {unit}".strip() if unit != "count" else f"{value:g}"
