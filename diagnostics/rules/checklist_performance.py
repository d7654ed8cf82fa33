"""Whether the training is fast enough: the second group of the checklist."""

from dataclasses import replace

from diagnostics.analyses.comparison import RATE
from diagnostics.language import say
from diagnostics.rules.checklist_item import (
    AGAINST_BASELINE,
    LIMITS,
    ON_CPU,
    ChecklistEvidence,
    ChecklistItem,
    Name,
    Reading,
    at_least,
    at_most,
    not_measured,
)
from diagnostics.rules.data_loading.first_pass import is_over_with_first_pass

RATE_ITEM: Name = ("samples/s reaches its target", "performance")
GPU_USE: Name = ("GPU use", "performance")
DATA_TIME: Name = ("data_time", "performance")
HIT_RATE: Name = ("cache hit rate", "performance")

NO_RATE = "the samples of a step are not known"
NO_TARGET = "no target; give --target-samples-per-s or --baseline"
NO_GPU_SAMPLES = "no GPU was sampled; train with a working NVIDIA driver library (NVML)"
NO_WAIT = "the wait for data was not recorded"
NO_CACHE = "no statistics of a cache were left; DATA.USE_RAM_CACHE is off or nothing was read"
NO_CACHE_OF_OTHERS = "no statistics of a cache were recorded"
FEW_READS = "{count} read(s) (gives|give) no rate"

OF_A_BATCH = "mean wait of the host for one batch"
OF_A_STEP = "mean wait of the host in one step"
AFTER_FIRST = "{what} after the first epoch, whose steps waited {first_ms:.1f} ms each (DL007)"
WITH_EXPOSED = "{what}; nothing hides {exposed_ms:.1f} ms of a step's waits, which DL001 judges"


def rate_reached(known: ChecklistEvidence) -> ChecklistItem:
    """Against the target; without one, not shown to be lower than the baseline's."""
    rate, source = known.measured.samples_per_s, known.measured.source("samples_per_s")
    if rate is None:
        return not_measured(RATE_ITEM, NO_RATE)
    reading = Reading(value=rate, unit="samples/s", source=source)
    if known.target_samples_per_s is not None:
        target = replace(LIMITS["rate"], value=known.target_samples_per_s)
        return at_least(RATE_ITEM, reading, target)
    change = known.comparison.resource(RATE) if known.comparison else None
    if change is None or change.before is None or change.p_value is None:
        return not_measured(RATE_ITEM, NO_TARGET, reading)
    target = replace(LIMITS["rate"], value=change.before)
    item = at_least(RATE_ITEM, replace(reading, note=AGAINST_BASELINE), target)
    # What the data do not show to be lower is not held against the run.
    return replace(item, status="fail" if change.outcome == "lower" else "pass")


def gpu_used(known: ChecklistEvidence) -> ChecklistItem:
    """By NVML's utilisation."""
    use, source = known.measured.gpu_util_percent, known.measured.source("gpu_util_percent")
    if use is None:
        return not_measured(GPU_USE, ON_CPU if known.measured.device == "cpu" else NO_GPU_SAMPLES)
    return at_least(GPU_USE, Reading(value=use, unit="percent", source=source), LIMITS["gpu_use"])


def data_time_short(known: ChecklistEvidence) -> ChecklistItem:
    """The host's mean wait for one batch, as the guide's line states it.

    What of it delays a step is another figure: a step takes several batches, starts the loader at
    times, and on a GPU part of the wait is hidden. The note names it.
    """
    wait, data = known.analysis.loading.wait, known.analysis.breakdown.data_against_compute
    value = wait.mean_ms if wait else data.data_wait_ms if data else None
    if value is None:
        return not_measured(DATA_TIME, NO_WAIT)
    later = _after_first_epoch(known)
    if later is not None:
        return at_most(DATA_TIME, later, LIMITS["data_time"])
    what, exposed_ms = OF_A_BATCH if wait else OF_A_STEP, known.measured.data_wait_exposed_ms
    is_other = exposed_ms is not None and f"{exposed_ms:.1f}" != f"{value:.1f}"
    note = say(WITH_EXPOSED, what=what, exposed_ms=exposed_ms) if is_other else what
    source = known.measured.source("data_wait_exposed_ms")
    reading = Reading(value=value, unit="ms", source=source, note=note)
    return at_most(DATA_TIME, reading, LIMITS["data_time"])


def _after_first_epoch(known: ChecklistEvidence) -> Reading | None:
    """What lasts, where the first pass over the data waited and the later ones do not."""
    measured = known.measured
    value, first_ms = measured.later_fetch_wait_ms, measured.first_wait_ms
    if value is None or not is_over_with_first_pass(measured, LIMITS["data_wait"].value):
        return None
    if not first_ms or first_ms < LIMITS["data_wait"].value * (measured.first_step_ms or 0.0):
        return None
    note = say(AFTER_FIRST, what=OF_A_BATCH, first_ms=first_ms)
    return Reading(value=value, unit="ms", source=measured.source("later_fetch_wait_ms"), note=note)


def cache_hit(known: ChecklistEvidence) -> ChecklistItem:
    """By the cache's own counters, once it was read often enough."""
    rate, reads = known.measured.cache_hit_rate, known.measured.cache_num_reads
    if rate is None or reads is None:
        return not_measured(HIT_RATE, known.ours_or(NO_CACHE, NO_CACHE_OF_OTHERS))
    source = known.measured.source("cache_hit_rate")
    reading = Reading(value=rate, unit="share", source=source)
    if reads < LIMITS["least_reads"].value:
        return not_measured(HIT_RATE, say(FEW_READS, count=reads), reading)
    return at_least(HIT_RATE, reading, LIMITS["cache_hit_rate"])
