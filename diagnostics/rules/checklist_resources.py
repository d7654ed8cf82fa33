"""Whether the machine stands the training: the third group of the checklist."""

from dataclasses import replace

from diagnostics.analyses.comparison import GPU_MEMORY as GPU_MEMORY_PEAK
from diagnostics.language import say
from diagnostics.rules.checklist_item import (
    AGAINST_BASELINE,
    LIMITS,
    ON_CPU,
    OVER_STEPS,
    ChecklistEvidence,
    ChecklistItem,
    Name,
    Reading,
    at_most,
    not_measured,
)
from diagnostics.rules.data_loading.first_pass import is_over_with_first_pass
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.steady_growth import LEAST_STEPS, growth_ahead_bytes

GPU_MEMORY: Name = ("GPU memory lower or acceptable", "resources")
HOST_MEMORY: Name = ("host memory is stable", "resources")
CPU_USE: Name = ("CPU use", "resources")
DISK: Name = ("disk is no bottleneck", "resources")
GIB = 1 << 30

NO_GPU_MEMORY = "the memory of the GPU was not recorded"
NO_COURSE = "the course of host memory was not recorded over {least} steps or more"
NO_CPU = "the machine was not sampled; set PROFILING.RESOURCES"
NO_CPU_OF_OTHERS = "the machine was not sampled"
NO_DISK = "neither the loader's reading nor the kernel's pressure counters were recorded"

OF_THE_GPU = "of the GPU's memory"
AHEAD_OF_STEPS = "steady growth over {least} steps, as over the {count} that were followed"
OF_THE_RUN = "by this run's processes; others take {foreign:.0f} %"
OF_ALL = "of the whole machine; what part is this run's is not known"
NO_DATA_WAIT = "the step does not wait for data"
AFTER_FIRST_EPOCH = "share of the step that waits for data after the first epoch (DL007)"
READING = "share of the step that waits for reading"
STALLED = "share of the time in which all tasks waited for a disk"


def gpu_memory_acceptable(known: ChecklistEvidence) -> ChecklistItem:
    """Lower than the baseline's, or acceptable: room for a peak is left."""
    measured = known.measured
    peak, total = measured.device_memory_peak_bytes, measured.device_memory_total_bytes
    if measured.device == "cpu" or peak is None:
        return not_measured(GPU_MEMORY, ON_CPU if measured.device == "cpu" else NO_GPU_MEMORY)
    reading = Reading(value=peak, unit="bytes", source=measured.source("device_memory_peak_bytes"))
    change = known.comparison.resource(GPU_MEMORY_PEAK) if known.comparison else None
    if change is not None and change.before and change.change is not None and change.change <= 0:
        limit = replace(LIMITS["gpu_memory"], value=change.before)
        return at_most(GPU_MEMORY, replace(reading, note=AGAINST_BASELINE), limit)
    if not total:
        return not_measured(GPU_MEMORY, NO_GPU_MEMORY, reading)
    share = replace(reading, value=peak / total, unit="share", note=OF_THE_GPU)
    return at_most(GPU_MEMORY, share, LIMITS["gpu_memory"])


def host_memory_stable(known: ChecklistEvidence) -> ChecklistItem:
    """By what grows steadily, as rule HM002 sees it."""
    measured, least = known.measured, int(LIMITS["least_course"].value)
    slope, steps = measured.host_memory_growth_bytes_per_step, measured.host_memory_course_steps
    if slope is None or steps is None or steps < least:
        return not_measured(HOST_MEMORY, say(NO_COURSE, least=least))
    is_short = steps < LEAST_STEPS
    reading = Reading(
        value=growth_ahead_bytes(slope, steps),
        unit="bytes",
        source=measured.source("host_memory_growth_bytes_per_step"),
        note=say(AHEAD_OF_STEPS if is_short else OVER_STEPS, least=LEAST_STEPS, count=steps),
    )
    limit = replace(LIMITS["host_memory_rise"], value=LIMITS["host_memory_rise"].value * GIB)
    return at_most(HOST_MEMORY, reading, limit)


def cpu_use_moderate(known: ChecklistEvidence) -> ChecklistItem:
    """The run's own use where its processes were sampled; else the machine's, which says so."""
    measured = known.measured
    use, cores = measured.host_cpu_percent, measured.machine_cores
    source = measured.source("cpus_allowed")
    if measured.own_cores is not None and measured.foreign_cores is not None and cores:
        foreign = 100 * measured.foreign_cores / cores
        reading = Reading(
            value=min(100.0, 100 * measured.own_cores / cores),
            unit="percent",
            source=source,
            note=say(OF_THE_RUN, foreign=foreign),
        )
        return at_most(CPU_USE, reading, LIMITS["cpu_use"])
    if use is None:
        return not_measured(CPU_USE, known.ours_or(NO_CPU, NO_CPU_OF_OTHERS))
    reading = Reading(value=use, unit="percent", source=source, note=OF_ALL)
    return at_most(CPU_USE, reading, LIMITS["cpu_use"])


def disk_fast_enough(known: ChecklistEvidence) -> ChecklistItem:
    """By what the training waits for; where that is not recorded, by the kernel's counters."""
    by_wait = _disk_by_wait(known.measured)
    if by_wait is not None:
        return at_most(DISK, by_wait, LIMITS["data_wait"])
    stalls = [
        host.stall_share["io_full"]
        for host in known.analysis.resources.hosts
        if "io_full" in host.stall_share
    ]
    if not stalls:
        return not_measured(DISK, NO_DISK)
    reading = Reading(
        value=max(stalls),
        unit="share",
        source=known.measured.source("cpus_allowed"),
        note=STALLED,
    )
    return at_most(DISK, reading, LIMITS["disk_stall"])


def _disk_by_wait(measured: Measurements) -> Reading | None:
    """The wait itself where it is small, else its part that reads; None where that is unknown."""
    wait_ms, reading = measured.data_wait_exposed_ms, measured.loading_shares.get("read")
    if wait_ms is None or not measured.step_ms:
        return None
    share, source = wait_ms / measured.step_ms, measured.source("data_wait_exposed_ms")
    limit = LIMITS["data_wait"].value
    if share > limit and is_over_with_first_pass(measured, limit):
        share = (measured.later_wait_ms or 0.0) / (measured.later_step_ms or 1.0)
        return Reading(value=share, unit="share", source=source, note=AFTER_FIRST_EPOCH)
    if share <= LIMITS["data_wait"].value:
        return Reading(value=share, unit="share", source=source, note=NO_DATA_WAIT)
    if reading is None:
        return None
    return Reading(value=share * reading, unit="share", source=source, note=READING)
