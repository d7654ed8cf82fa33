"""Which budget of the cache in memory fits: by what it held, not by what it was allowed."""

import math

from diagnostics.analyses.memory_checks import CACHE_MAX_RAM_SHARE
from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

GIB = 1 << 30
TARGET_SHARE = 0.80
"""Use of host memory that the proposals aim at."""
SIGN = "host memory below 90 %"
_LEAST_PART = 0.05
"""Of what must go: a cache that held less is not what to change."""


def smaller_cache(measured: Measurements) -> Advice | None:
    """The budget that leaves room below the limit, or no cache where none does.

    None where the cache is off, the limit is unknown, or the present budget fits.
    """
    budget_gib = measured.number_setting("DATA.CACHE_SIZE_GB")
    peak, limit = _peak_and_limit(measured)
    if measured.setting("DATA.USE_RAM_CACHE") is not True or peak is None or limit is None:
        return None
    if not budget_gib:
        return None
    missing_gib = (peak - TARGET_SHARE * limit) / GIB
    if _held_bytes(measured, budget_gib) < _LEAST_PART * missing_gib * GIB:
        return None
    proposed = _rounded_down(_fitting_gib(measured, budget_gib, missing_gib, limit / GIB))
    if proposed >= budget_gib:
        return None
    change = ConfigChange(key="DATA.CACHE_SIZE_GB", current=budget_gib, proposed=proposed)
    text = say(
        "Lower the cache from {current:g} to {proposed:g} GiB: {held}, and {peak:.2f} of "
        "{limit:.2f} GiB were in use.",
        current=budget_gib,
        proposed=proposed,
        held=_held_in_words(measured, budget_gib),
        peak=peak / GIB,
        limit=limit / GIB,
    )
    if not proposed:
        change = ConfigChange(key="DATA.USE_RAM_CACHE", current=True, proposed=False)
        text = say(
            "Switch the cache off: {held}, and {missing:.2f} GiB must go for the run to stay below "
            "{share:.0%} of {limit:.2f} GiB.",
            held=_held_in_words(measured, budget_gib),
            missing=missing_gib,
            share=TARGET_SHARE,
            limit=limit / GIB,
        )
    return Advice(text=text, config_change=change, verify=verify(SIGN))


def missing_bytes(measured: Measurements) -> float | None:
    """What must go for the run to stay below the target; None where peak or limit is unknown."""
    peak, limit = _peak_and_limit(measured)
    return None if peak is None or limit is None else peak - TARGET_SHARE * limit


def _held_bytes(measured: Measurements, budget_gib: float) -> float:
    """At most; the budget where nobody saw."""
    held, most = measured.cache_used_bytes, measured.mapped_memory_bytes
    seen = held if held is not None else most
    return budget_gib * GIB if seen is None else min(budget_gib * GIB, seen)


def _peak_and_limit(measured: Measurements) -> tuple[int | None, int | None]:
    """Of the memory that ran out: samples miss the moment of a kill, when all of it was in use."""
    peak, limit = measured.host_memory_peak_bytes, measured.host_memory_limit_bytes
    met = measured.kill_limit_bytes
    if measured.killer == "oom_killer" and measured.kill_memory == "group" and met:
        return max(peak or 0, met), met
    return peak, limit


def _fitting_gib(
    measured: Measurements, budget_gib: float, missing_gib: float, limit_gib: float
) -> float:
    """What is left of it; of an unknown cache the guide's share of the limit at most."""
    held = measured.cache_used_bytes
    if held is not None:
        return min(budget_gib, held / GIB) - missing_gib
    most = measured.mapped_memory_bytes
    held_gib = budget_gib if most is None else min(budget_gib, most / GIB)
    return min(held_gib - missing_gib, CACHE_MAX_RAM_SHARE * limit_gib)


def _rounded_down(size_gib: float) -> float:
    """Whole GiB from 10 on, tenths from 1 on, else hundredths; 0 where nothing fits."""
    parts = 1 if size_gib >= 10 else 10 if size_gib >= 1 else 100
    return max(0.0, math.floor(size_gib * parts) / parts)


def _held_in_words(measured: Measurements, budget_gib: float) -> str:
    held, most = measured.cache_used_bytes, measured.mapped_memory_bytes
    if held is not None:
        return say("it held {held:.2f} GiB", held=min(budget_gib, held / GIB))
    if most is not None:
        return say("it held {held:.2f} GiB at most", held=min(budget_gib, most / GIB))
    return "what it held was not recorded"
