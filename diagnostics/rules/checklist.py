"""The performance guide's checklist, filled in from what a run measured: pass, fail, not measured.

Every item names its limit, and where the value was read. What was not measured says why, and what
would answer it; that is no failure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from diagnostics.analyses.comparison import GPU_MEMORY as GPU_MEMORY_PEAK
from diagnostics.analyses.comparison import RATE, Comparison
from diagnostics.analyses.loss_trend import LossTrend
from diagnostics.analyses.quality import Quality
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.language import say
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Threshold
from diagnostics.rules.thresholds import OUTCOME_LIMITS, read_thresholds

Group = Literal["function", "performance", "resources"]
Status = Literal["pass", "fail", "not_measured"]
Name = tuple[str, Group]
GIB = 1 << 30
LIMITS = read_thresholds(OUTCOME_LIMITS)["checklist"]

LOSS: Name = ("loss converges", "function")
QUALITY: Name = ("PSNR and SSIM acceptable", "function")
FINITE: Name = ("no NaN, no Inf", "function")
SAVED: Name = ("checkpoints are saved", "function")
LOADED: Name = ("checkpoints can be loaded", "function")
RATE_ITEM: Name = ("samples/s reaches its target", "performance")
GPU_USE: Name = ("GPU use", "performance")
DATA_TIME: Name = ("data_time", "performance")
HIT_RATE: Name = ("cache hit rate", "performance")
GPU_MEMORY: Name = ("GPU memory lower or acceptable", "resources")
HOST_MEMORY: Name = ("host memory is stable", "resources")
CPU_USE: Name = ("CPU use", "resources")
DISK: Name = ("disk is no bottleneck", "resources")

NO_LOSS = "no loss was recorded"
FEW_LOSSES = "{count} losses show no trend; train for at least {least} steps"
NO_TREND = "the loss neither falls nor rises clearly over steps {first} to {last}"
NO_VALIDATION = "no validation was run; set LOG.VAL_EVERY_STEPS"
NOTHING_TO_HOLD_AGAINST = (
    "the validation states no PSNR of its input; give --baseline to hold it against another run"
)
NO_CHECKPOINT = "no checkpoint was saved; set LOG.CHECKPOINT_EVERY_STEPS"
NOT_RESUMED = "the run began afresh; `python -m vrtspike.train --resume auto` shows it"
NO_RATE = "the samples of a step are not known"
NO_TARGET = "no target; give --target-samples-per-s or --baseline"
ON_CPU = "the run was on the CPU"
NO_GPU_SAMPLES = "no GPU was sampled; train with a working NVIDIA driver library (NVML)"
NO_WAIT = "the wait for data was not recorded"
NO_CACHE = "no statistics of a cache were left; DATA.USE_RAM_CACHE is off or nothing was read"
FEW_READS = "{count} reads give no rate"
NO_GPU_MEMORY = "the memory of the GPU was not recorded"
NO_COURSE = "the course of host memory was not recorded over {least} steps or more"
NO_CPU = "the machine was not sampled; set PROFILING.RESOURCES"
NO_DISK = "neither the loader's reading nor the kernel's pressure counters were recorded"

AGAINST_INPUT, AGAINST_BASELINE = "above the PSNR of the blurry input", "as in the baseline"
LOWER_THAN_BASELINE = "PSNR lower than the baseline's after step {step}"
SSIM_DROPPED = "SSIM is lower than the baseline's beyond the limit"
RESUMED = "went on from {name}"
NO_DATA_WAIT = "the step does not wait for data"
READING = "share of the step that waits for reading"
STALLED = "share of the time in which all tasks waited for a disk"
OF_THE_GPU = "of the GPU's memory"
OVER_STEPS = "over {count} steps"


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """One line of the checklist.

    `value` and `limit` are in `unit`: ms, share, bytes, percent, db, samples/s, count; the value
    must be at least or at most the limit, as `bound` says. `source` is the file it was read from,
    `note` what the value is of, or why there is none.
    """

    item: str
    group: Group
    status: Status
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    bound: Literal["at least", "at most", ""] = ""
    source: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChecklistEvidence:
    """What the checklist is filled in from; None or 0: not recorded.

    `baseline_quality` and `comparison` are there with a baseline, `target` if one was asked for.
    """

    measured: Measurements
    analysis: RunAnalysis
    loss: LossTrend | None
    num_checkpoints: int
    resumed_from: str | None
    comparison: Comparison | None = None
    baseline_quality: Quality | None = None
    target_samples_per_s: float | None = None


def fill_checklist(known: ChecklistEvidence) -> tuple[ChecklistItem, ...]:
    """Every item in the guide's order."""
    return tuple(fill(known) for fill in _ITEMS)


def _loss(known: ChecklistEvidence) -> ChecklistItem:
    name, trend = LOSS, known.loss
    if trend is None:
        return _unknown(name, NO_LOSS)
    if trend.num_steps < LIMITS["least_losses"].value:
        least = int(LIMITS["least_losses"].value)
        return _unknown(name, say(FEW_LOSSES, count=trend.num_steps, least=least))
    if trend.low_share < 0 < trend.high_share:
        return _unknown(name, say(NO_TREND, first=trend.first_step, last=trend.last_step))
    return _at_most(
        name,
        trend.change_share,
        LIMITS["loss_change"],
        unit="share",
        source=known.measured.source("num_steps"),
        note=say(OVER_STEPS, count=trend.num_steps),
    )


def _quality(known: ChecklistEvidence) -> ChecklistItem:
    """Against the baseline at the last step that both validated, else against the input."""
    shared = _shared_validation(known)
    if shared is not None:
        return shared
    last, source = known.analysis.quality.last, known.measured.source("psnr_last_db")
    if last is None or last.psnr_rgb_db is None:
        return _unknown(QUALITY, NO_VALIDATION)
    if last.gain_db is None:
        return _unknown(QUALITY, NOTHING_TO_HOLD_AGAINST)
    limit = LIMITS["psnr_below_input"]
    return _at_least(QUALITY, last.gain_db, limit, unit="db", source=source, note=AGAINST_INPUT)


def _shared_validation(known: ChecklistEvidence) -> ChecklistItem | None:
    before = {each.step: each for each in (known.baseline_quality or Quality()).points}
    pairs = [
        (before[each.step], each)
        for each in known.analysis.quality.points
        if each.step in before
        and each.psnr_rgb_db is not None
        and before[each.step].psnr_rgb_db is not None
    ]
    if not pairs:
        return None
    old, new = pairs[-1]
    drop = (old.psnr_rgb_db or 0.0) - (new.psnr_rgb_db or 0.0)
    is_ssim_kept = (
        old.ssim_y is None
        or new.ssim_y is None
        or old.ssim_y - new.ssim_y <= LIMITS["ssim_drop"].value
    )
    item = _at_most(
        QUALITY,
        drop,
        LIMITS["psnr_drop"],
        unit="db",
        source=known.measured.source("psnr_last_db"),
        note=say(LOWER_THAN_BASELINE, step=new.step),
    )
    return item if is_ssim_kept else replace(item, status="fail", note=SSIM_DROPPED)


def _finite(known: ChecklistEvidence) -> ChecklistItem:
    count, source = known.measured.num_nonfinite, known.measured.source("num_nonfinite")
    if count is None:
        return _unknown(FINITE, NO_LOSS)
    return _at_most(FINITE, count, LIMITS["not_finite"], unit="count", source=source)


def _saved(known: ChecklistEvidence) -> ChecklistItem:
    if not known.num_checkpoints:
        return _unknown(SAVED, NO_CHECKPOINT)
    source = known.measured.source("psnr_last_db")
    return _at_least(
        SAVED, known.num_checkpoints, LIMITS["checkpoints"], unit="count", source=source
    )


def _loaded(known: ChecklistEvidence) -> ChecklistItem:
    """A run that went on from a checkpoint has loaded one."""
    if known.resumed_from is None:
        return _unknown(LOADED, NOT_RESUMED)
    item, group = LOADED
    note = say(RESUMED, name=known.resumed_from)
    return ChecklistItem(item=item, group=group, status="pass", source="meta.json", note=note)


def _rate(known: ChecklistEvidence) -> ChecklistItem:
    """Against the target; without one, not shown to be lower than the baseline's."""
    rate, source = known.measured.samples_per_s, known.measured.source("samples_per_s")
    if rate is None:
        return _unknown(RATE_ITEM, NO_RATE)
    if known.target_samples_per_s is not None:
        target = replace(LIMITS["rate"], value=known.target_samples_per_s)
        return _at_least(RATE_ITEM, rate, target, unit="samples/s", source=source)
    change = known.comparison.resource(RATE) if known.comparison else None
    if change is None or change.before is None or change.p_value is None:
        return _unknown(RATE_ITEM, NO_TARGET, value=rate, unit="samples/s", source=source)
    target = replace(LIMITS["rate"], value=change.before)
    item = _at_least(
        RATE_ITEM, rate, target, unit="samples/s", source=source, note=AGAINST_BASELINE
    )
    # What the data do not show to be lower is not held against the run.
    return replace(item, status="fail" if change.outcome == "lower" else "pass")


def _gpu_use(known: ChecklistEvidence) -> ChecklistItem:
    use, source = known.measured.gpu_util_percent, known.measured.source("gpu_util_percent")
    if use is None:
        return _unknown(GPU_USE, ON_CPU if known.measured.device == "cpu" else NO_GPU_SAMPLES)
    return _at_least(GPU_USE, use, LIMITS["gpu_use"], unit="percent", source=source)


def _data_time(known: ChecklistEvidence) -> ChecklistItem:
    """The host's wait for one batch, as the guide's line states it."""
    wait, data = known.analysis.loading.wait, known.analysis.breakdown.data_against_compute
    value = wait.mean_ms if wait else data.data_wait_ms if data else None
    if value is None:
        return _unknown(DATA_TIME, NO_WAIT)
    source = known.measured.source("data_wait_exposed_ms")
    return _at_most(DATA_TIME, value, LIMITS["data_time"], unit="ms", source=source)


def _hit_rate(known: ChecklistEvidence) -> ChecklistItem:
    rate, reads = known.measured.cache_hit_rate, known.measured.cache_num_reads
    if rate is None or reads is None:
        return _unknown(HIT_RATE, NO_CACHE)
    source = known.measured.source("cache_hit_rate")
    if reads < LIMITS["least_reads"].value:
        note = say(FEW_READS, count=reads)
        return _unknown(HIT_RATE, note, value=rate, unit="share", source=source)
    return _at_least(HIT_RATE, rate, LIMITS["cache_hit_rate"], unit="share", source=source)


def _gpu_memory(known: ChecklistEvidence) -> ChecklistItem:
    """Lower than the baseline's, or acceptable: room for a peak is left."""
    measured = known.measured
    peak, total = measured.device_memory_peak_bytes, measured.device_memory_total_bytes
    if measured.device == "cpu" or peak is None:
        return _unknown(GPU_MEMORY, ON_CPU if measured.device == "cpu" else NO_GPU_MEMORY)
    source = measured.source("device_memory_peak_bytes")
    change = known.comparison.resource(GPU_MEMORY_PEAK) if known.comparison else None
    if change is not None and change.before and change.change is not None and change.change <= 0:
        limit = replace(LIMITS["gpu_memory"], value=change.before)
        return _at_most(GPU_MEMORY, peak, limit, unit="bytes", source=source, note=AGAINST_BASELINE)
    if not total:
        return _unknown(GPU_MEMORY, NO_GPU_MEMORY, value=peak, unit="bytes", source=source)
    return _at_most(
        GPU_MEMORY, peak / total, LIMITS["gpu_memory"], unit="share", source=source, note=OF_THE_GPU
    )


def _host_memory(known: ChecklistEvidence) -> ChecklistItem:
    measured, least = known.measured, int(LIMITS["least_course"].value)
    slope, steps = measured.host_memory_growth_bytes_per_step, measured.host_memory_course_steps
    if slope is None or steps is None or steps < least:
        return _unknown(HOST_MEMORY, say(NO_COURSE, least=least))
    limit = replace(LIMITS["host_memory_rise"], value=LIMITS["host_memory_rise"].value * GIB)
    return _at_most(
        HOST_MEMORY,
        slope * steps,
        limit,
        unit="bytes",
        source=measured.source("host_memory_growth_bytes_per_step"),
        note=say(OVER_STEPS, count=steps),
    )


def _cpu_use(known: ChecklistEvidence) -> ChecklistItem:
    use = known.measured.host_cpu_percent
    if use is None:
        return _unknown(CPU_USE, NO_CPU)
    source = known.measured.source("cpus_allowed")
    return _at_most(CPU_USE, use, LIMITS["cpu_use"], unit="percent", source=source)


def _disk(known: ChecklistEvidence) -> ChecklistItem:
    """By what the training waits for; where that is not recorded, by the kernel's counters."""
    measured = known.measured
    wait_ms, source = measured.data_wait_exposed_ms, measured.source("data_wait_exposed_ms")
    reading = measured.loading_shares.get("read")
    if wait_ms is not None and measured.step_ms:
        share = wait_ms / measured.step_ms
        if share <= LIMITS["data_wait"].value:
            note = NO_DATA_WAIT
            return _at_most(
                DISK, share, LIMITS["data_wait"], unit="share", source=source, note=note
            )
        if reading is not None:
            note = READING
            return _at_most(
                DISK, share * reading, LIMITS["data_wait"], unit="share", source=source, note=note
            )
    stalls = [
        host.stall_share["io_full"]
        for host in known.analysis.resources.hosts
        if "io_full" in host.stall_share
    ]
    if not stalls:
        return _unknown(DISK, NO_DISK)
    source = measured.source("cpus_allowed")
    return _at_most(
        DISK, max(stalls), LIMITS["disk_stall"], unit="share", source=source, note=STALLED
    )


_ITEMS: tuple[Callable[[ChecklistEvidence], ChecklistItem], ...] = (
    _loss,
    _quality,
    _finite,
    _saved,
    _loaded,
    _rate,
    _gpu_use,
    _data_time,
    _hit_rate,
    _gpu_memory,
    _host_memory,
    _cpu_use,
    _disk,
)


def _unknown(
    name: Name,
    note: str,
    *,
    value: float | None = None,
    unit: str = "",
    source: str | None = None,
) -> ChecklistItem:
    item, group = name
    return ChecklistItem(
        item=item,
        group=group,
        status="not_measured",
        value=value,
        unit=unit,
        source=source,
        note=note,
    )


def _at_most(
    name: Name,
    value: float,
    limit: Threshold,
    *,
    unit: str,
    source: str | None,
    note: str | None = None,
) -> ChecklistItem:
    item, group = name
    return ChecklistItem(
        item=item,
        group=group,
        status="pass" if value <= limit.value else "fail",
        value=value,
        unit=unit,
        limit=limit.value,
        bound="at most",
        source=source,
        note=note,
    )


def _at_least(
    name: Name,
    value: float,
    limit: Threshold,
    *,
    unit: str,
    source: str | None,
    note: str | None = None,
) -> ChecklistItem:
    found = _at_most(name, value, limit, unit=unit, source=source, note=note)
    return replace(found, status="pass" if value >= limit.value else "fail", bound="at least")
