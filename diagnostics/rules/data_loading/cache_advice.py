"""What to do about a cache that misses: a larger one only where it is full and memory has room."""

import math

from diagnostics.language import say
from diagnostics.rules.data_loading.larger_cache import GIB, budget_of_all_gib
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

FULL_SHARE = 0.95
"""A cache that holds less of its budget is not too small."""
MOST_TIMES = 8
"""So many times the budget at most, in one step."""

ORDER = "DATA.SAMPLE_ORDER"
SIGN = "cache hit rate above 75 %"


def cache_advice(measured: Measurements, most_of_memory: float) -> tuple[Advice, ...]:
    """Advice for a low hit rate; no budget above `most_of_memory` of host memory is proposed."""
    used, limit = measured.cache_used_bytes, measured.cache_limit_bytes
    if measured.cache_no_room:
        return (_fitting(measured),)
    if used is not None and limit is not None and used < FULL_SHARE * limit:
        return (
            Advice(
                text="The cache is not full, so a larger one would not help: the misses are first "
                "reads. Judge again after two epochs.",
                verify=verify(SIGN),
            ),
        )
    larger = _larger(measured, most_of_memory) if used is not None else None
    sooner = _sooner(measured)
    return (larger, sooner) if larger else (sooner,)


def _fitting(measured: Measurements) -> Advice:
    """What its memory or folder held is what fits; with no more than that, old items make room."""
    current, used = measured.number_setting("DATA.CACHE_SIZE_GB"), measured.cache_used_bytes or 0
    proposed = _two_digits(used / GIB)
    fits = current is not None and 0 < proposed < current
    return Advice(
        text=say(
            "The system had no room for more than {used:.3g} GiB of the cache ({where}): give it "
            "room, or lower the budget, so that new items replace old ones.",
            used=used / GIB,
            where="memory" if measured.setting("DATA.CACHE_DIR") is None else "DATA.CACHE_DIR",
        ),
        config_change=ConfigChange(key="DATA.CACHE_SIZE_GB", current=current, proposed=proposed)
        if fits
        else None,
        verify=verify(SIGN),
    )


def _sooner(measured: Measurements) -> Advice:
    order = measured.setting(ORDER)
    if order == "grouped" and (measured.num_workers or 0) < 2:
        return Advice(
            text="The order is grouped already: what is missed is read for the first time by its "
            "group. A fast store (DATA.FAST_STORE) makes such reads cheap.",
            verify=verify("a shorter wait for data"),
        )
    if order == "grouped":
        return Advice(
            text="The order is grouped already: what is missed are frames of groups that other "
            "loading processes have pushed out. Fewer loading processes share a cache this small "
            "better.",
            verify=verify(SIGN),
        )
    return Advice(
        text="Let the sampler return to the same clips sooner: neighbouring samples together, in "
        "groups that are shuffled; purely random order defeats any cache smaller than the data.",
        config_change=ConfigChange(key=ORDER, current=order, proposed="grouped")
        if order == "shuffled"
        else None,
        verify=verify(SIGN),
    )


def _larger(measured: Measurements, most_of_memory: float) -> Advice | None:
    current = measured.number_setting("DATA.CACHE_SIZE_GB")
    total, free = measured.host_memory_limit_bytes, measured.host_memory_free_bytes
    if current is None or total is None or free is None:
        return None
    room_bytes = min(current * GIB + free // 2, most_of_memory * total)
    proposed = budget_of_all_gib(measured)
    if proposed is None or proposed * GIB > room_bytes:
        proposed = _two_digits(min(_wanted_gib(measured, current), room_bytes / GIB))
    if proposed <= current:
        return None
    return Advice(
        text=say(
            "Raise the budget from {current:g} to {proposed:g} GiB; {free:.1f} GiB stayed free "
            "at the peak.",
            current=current,
            proposed=proposed,
            free=free / GIB,
        ),
        config_change=ConfigChange(key="DATA.CACHE_SIZE_GB", current=current, proposed=proposed),
        verify=verify(say("{sign}, host memory below 90 %", sign=SIGN)),
    )


def _wanted_gib(measured: Measurements, current: float) -> float:
    """Twice the budget; in random order what the data takes, since hits then go by the share kept.

    The first epoch's misses are counted too, so that this is rather too much than too little.
    """
    rate, used = measured.cache_hit_rate, measured.cache_used_bytes
    if measured.setting(ORDER) != "shuffled" or not rate or used is None:
        return 2 * current
    return max(2 * current, min(MOST_TIMES * current, used / rate / GIB))


def _two_digits(size_gib: float) -> float:
    """Rounded down, so that a limit still holds; a whole number from ten on."""
    if size_gib >= 10:
        return float(int(size_gib))
    scale = 10.0 ** (1 - math.floor(math.log10(size_gib))) if size_gib > 0 else 1.0
    return math.floor(size_gib * scale) / scale
