"""Where to look for what makes the host's memory grow, by who holds it."""

from collections.abc import Mapping

from diagnostics.language import say
from diagnostics.rules.finding import Advice
from diagnostics.rules.host_memory.cache_budget import missing_bytes
from diagnostics.rules.host_memory.memory_advice import host_memory_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

_MIB = 1 << 20
_LEAST_PART = 0.5
"""Of what was too much: growth that made less is not alone to blame."""
_FULL_SHARE = 0.98
"""A cache with so much of its budget grows no more."""

LOADING_KEEPS = (
    "Loading processes keep something of each sample: look in the data set's `__getitem__` and in "
    "the function that collates for lists, dictionaries and open files that only grow. Long lists "
    "of Python objects are copied, page by page, when a forked process touches them: hold them as "
    "arrays."
)
TRAINING_KEEPS = (
    "The training process keeps something of each step: look for lists of losses or outputs that "
    "still hold their graph (keep `loss.item()`), and for statistics of every sample."
)
_SHARED = (
    "Shared memory fills: the training process keeps batches of the loader, or views of them (keep "
    "a `clone()` of what is needed), or something leaves its files in /dev/shm."
)
_COPIED = (
    "Loading processes copy, page by page, what they touch of the objects that they were forked "
    "with: long lists or dictionaries of Python objects in the data set. Hold them as arrays, or "
    "as one object of bytes."
)
_ANYONE = (
    "Nothing in the configuration explains the growth; `python diagnose_memory.py` during the run "
    "shows which process grows."
)
_BY_HOLDER: Mapping[str, str] = {
    "training_process": TRAINING_KEEPS,
    "loader_process": LOADING_KEEPS,
    "loader_processes": LOADING_KEEPS,
    "copied_pages": _COPIED,
    "shared_memory": _SHARED,
}


def growth_advice(measured: Measurements) -> tuple[Advice, ...]:
    """The cache's switches while it fills; else where to look."""
    if cache_fills(measured):
        return host_memory_advice(measured)
    text = _BY_HOLDER.get(measured.host_memory_holder or "", _ANYONE)
    return (Advice(text=text, verify=verify("no host-memory-growing")),)


def advice_on_the_growth_that_filled(measured: Measurements) -> Advice | None:
    """Where steady growth made at least half of what was too much when memory ran out."""
    slope, steps = measured.host_memory_growth_bytes_per_step, measured.host_memory_growth_steps
    missing = missing_bytes(measured)
    if not slope or slope < 0 or steps is None or missing is None or cache_fills(measured):
        return None
    rise = slope * (steps[1] - steps[0])
    if rise < _LEAST_PART * missing:
        return None
    growing = measured.host_memory_growth_of
    return Advice(
        text=say(
            "End the growth: {mib_per_step:.2f} MiB a step, {rise_mib:.0f} MiB from step "
            "{first:.0f} to {last:.0f}, most of it in {holder}. {where}",
            mib_per_step=slope / _MIB,
            rise_mib=rise / _MIB,
            first=steps[0],
            last=steps[1],
            holder=max(growing, key=lambda each: growing[each]) if growing else "the run",
            where=_BY_HOLDER.get(measured.host_memory_holder or "", _ANYONE),
        ),
        verify=verify("no host-memory-growing"),
    )


def cache_fills(measured: Measurements) -> bool:
    """Whether what grows may be a cache: one in memory that is on, and not known to be full."""
    if measured.host_memory_growth_is_private:
        return False
    used, limit = measured.cache_used_bytes, measured.cache_limit_bytes
    is_full = used is not None and bool(limit) and used >= _FULL_SHARE * (limit or 0)
    return measured.setting("DATA.USE_RAM_CACHE") is True and not is_full
