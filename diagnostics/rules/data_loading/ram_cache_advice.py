"""The cache in memory: whether it fits, and what it saves over the epochs of the run."""

from diagnostics.language import say
from diagnostics.rules.data_loading.cached_gain import CachedEpochs, cached_epochs
from diagnostics.rules.data_loading.exposed_wait import exposed_wait
from diagnostics.rules.data_loading.loader_capacity import loader_capacity
from diagnostics.rules.data_loading.worker_advice import SIGN, has_memory_to_spare
from diagnostics.rules.finding import Advice, ConfigChange, Gain
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

GIB = 1 << 30

_FITS = (
    "Keep decoded frames in memory: the budget of {budget_gib:g} GiB (CACHE_SIZE_GB) fits into "
    "the {free:.1f} GiB that stayed free."
)
_WHOLE = (
    "Keep decoded frames in memory: the whole data set takes {decoded:.2g} GiB there, within the "
    "budget of {budget_gib:g} GiB (CACHE_SIZE_GB), and {free:.1f} GiB stayed free. Each frame is "
    "then read once: {first:.0%} of what the first epoch reads now, which will wait about "
    "{first_ms:.0f} ms a step, and nothing in the {later:.1f} epochs after it."
)
_PART = (
    "Keep decoded frames in memory: the budget of {budget_gib:g} GiB (CACHE_SIZE_GB) fits into the "
    "{free:.1f} GiB that stayed free, and holds {kept:.0%} of the data set's {decoded:.2g} GiB. "
    "After the first of {epochs:.1f} epochs about {kept:.0%} of the reads are spared."
)


def ram_cache_advice(measured: Measurements, gain: Gain) -> Advice | None:
    """`gain` stands in where the run did not say how large its data set is."""
    budget_gib = measured.number_setting("DATA.CACHE_SIZE_GB")
    free = measured.host_memory_free_bytes
    if measured.setting("DATA.USE_RAM_CACHE") is not False or budget_gib is None or free is None:
        return None
    decoded = measured.data_decoded_bytes
    # The cache never holds more than there is.
    taken = budget_gib * GIB if decoded is None else min(budget_gib * GIB, decoded)
    if not has_memory_to_spare(measured) or taken > free // 2:
        return None
    epochs = _epochs(measured, budget_gib * GIB)
    return Advice(
        text=_text(measured, epochs, budget_gib, free),
        config_change=ConfigChange(key="DATA.USE_RAM_CACHE", current=False, proposed=True),
        predicted_gain=gain if epochs is None else epochs.gain,
        verify=verify(SIGN),
    )


def _epochs(measured: Measurements, budget_bytes: float) -> CachedEpochs | None:
    wait = exposed_wait(measured)
    if wait is None or not measured.step_ms:
        return None
    capacity = loader_capacity(measured, wait[0], measured.step_ms, measured.num_workers or 0)
    return None if capacity is None else cached_epochs(measured, budget_bytes, capacity)


def _text(measured: Measurements, epochs: CachedEpochs | None, budget_gib: float, free: int) -> str:
    figures = {"budget_gib": budget_gib, "free": free / GIB}
    decoded = measured.data_decoded_bytes
    if epochs is None or decoded is None:
        return say(_FITS, **figures)
    figures["decoded"] = decoded / GIB
    if epochs.later_misses > 0:
        return say(_PART, **figures, kept=1.0 - epochs.later_misses, epochs=epochs.epochs)
    return say(
        _WHOLE,
        **figures,
        first=epochs.first_misses,
        first_ms=epochs.first_ms,
        later=epochs.epochs - 1.0,
    )
