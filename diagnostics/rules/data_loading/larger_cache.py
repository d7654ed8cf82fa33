"""A cache that is on and smaller than the data: the budget that holds all, and what that saves."""

import math
from dataclasses import replace

from diagnostics.language import say
from diagnostics.rules.data_loading.cached_gain import CachedEpochs, cached_epochs
from diagnostics.rules.data_loading.exposed_wait import exposed_wait
from diagnostics.rules.data_loading.loader_capacity import loader_capacity
from diagnostics.rules.data_loading.worker_advice import SIGN, has_memory_to_spare
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

GIB = 1 << 30
_TO_SPARE = 1.05
"""Pages and clips of unlike sizes: what all frames take is known by the first of each clip."""
_MOST_OF_MEMORY = 0.5
"""The performance guide: no more than half of the physical memory."""

_WHOLE = (
    "Raise the cache's budget from {current:g} to {proposed:g} GiB, so that it holds the whole "
    "data set ({decoded:.2g} GiB decoded): it answers {rate:.0%} of the reads now, and {free:.1f} "
    "GiB stayed free. The first epoch still reads each frame once and waits about {first_ms:.0f} "
    "ms a step, the {later:.1f} epochs after it read nothing."
)


def budget_of_all_gib(measured: Measurements) -> float | None:
    """Budget in GiB, to two digits, that holds every frame; None where the run did not say."""
    decoded = measured.data_decoded_bytes
    if not decoded:
        return None
    wanted = _TO_SPARE * decoded / GIB
    scale = 10.0 ** (1 - math.floor(math.log10(wanted)))
    return math.ceil(wanted * scale) / scale


def larger_cache_advice(measured: Measurements) -> Advice | None:
    """Only where all of the data fits into memory: else rule DL002 says what a part would do."""
    current, proposed = measured.number_setting("DATA.CACHE_SIZE_GB"), budget_of_all_gib(measured)
    free, total = measured.host_memory_free_bytes, measured.host_memory_limit_bytes
    rate, decoded = measured.cache_hit_rate, measured.data_decoded_bytes
    if measured.setting("DATA.USE_RAM_CACHE") is not True or current is None or proposed is None:
        return None
    if free is None or total is None or rate is None or not decoded or decoded <= current * GIB:
        return None
    more_bytes = (proposed - current) * GIB
    if not has_memory_to_spare(measured) or more_bytes > free // 2:
        return None
    epochs = _epochs(measured, rate, proposed * GIB)
    if epochs is None or proposed * GIB > _MOST_OF_MEMORY * total:
        return None
    text = say(
        _WHOLE,
        current=current,
        proposed=proposed,
        decoded=decoded / GIB,
        rate=rate,
        free=free / GIB,
        first_ms=epochs.first_ms,
        later=epochs.epochs - 1.0,
    )
    return Advice(
        text=text,
        config_change=ConfigChange(key="DATA.CACHE_SIZE_GB", current=current, proposed=proposed),
        predicted_gain=epochs.gain,
        verify=verify(SIGN),
    )


def _epochs(measured: Measurements, rate: float, budget_bytes: float) -> CachedEpochs | None:
    wait = exposed_wait(measured)
    if wait is None or not measured.step_ms or rate >= 1:
        return None
    capacity = loader_capacity(measured, wait[0], measured.step_ms, measured.num_workers or 0)
    if capacity is None:
        return None
    # What was measured is a mixture: the hits took next to nothing.
    missed_ms = capacity.made_ms / (1.0 - rate)
    missed = replace(capacity, made_ms=missed_ms, made_p95_ms=max(missed_ms, capacity.made_p95_ms))
    return cached_epochs(measured, budget_bytes, missed)
