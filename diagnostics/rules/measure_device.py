"""From what GPUs, allocators and exchanges recorded to what rules need of them. Pure."""

from collections.abc import Sequence
from typing import Any

from diagnostics.analyses.communication import CommunicationUse
from diagnostics.analyses.gpu_load import GpuSummary
from diagnostics.analyses.gpu_sharing import compute_gpu_sharing
from diagnostics.analyses.levels import Level
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.rules.measure_growth import device_growth_fields
from diagnostics.run import Run

IDLE = "idle"
DEVICE_FIELDS = (
    "throttle_share",
    "sm_clock_mean_mhz",
    "gpu_util_p95_percent",
    "gpu_other_bytes",
)
"""Fields that are read from the resource samples."""
ALLOCATOR_FIELDS = (
    "device_unused_bytes",
    "device_memory_growth_bytes_per_step",
    "exchange_ms",
)
"""Fields that are read from the step records."""


def device_fields(run: Run, analysis: RunAnalysis, gpus: Sequence[GpuSummary]) -> dict[str, Any]:
    """`gpus` are those that the run used."""
    sharing = compute_gpu_sharing(gpus, analysis.memory)
    others = [int(each.other_bytes) for each in sharing]
    return {
        **_clocks(gpus),
        "gpu_util_p95_percent": _largest([gpu.util_percent.p95 for gpu in gpus]),
        "gpu_memory_p95_share": _largest([_memory_share(gpu) for gpu in gpus]),
        "gpu_other_bytes": max(others, default=None),
        **_allocator(analysis),
        **device_growth_fields(analysis.device_growth),
        "recompute_ms": _recompute_ms(analysis),
    }


def _clocks(gpus: Sequence[GpuSummary]) -> dict[str, Any]:
    names = {name for gpu in gpus for name in gpu.throttle_share} - {IDLE}
    slowest = min(gpus, key=_clock_share, default=None)
    fields: dict[str, Any] = {
        "throttle_share": {
            name: max(gpu.throttle_share.get(name, 0.0) for gpu in gpus) for name in sorted(names)
        },
        "num_gpu_samples": min(
            (g.num_samples for g in gpus if g.throttle_reasons is not None), default=0
        ),
        "gpu_temperature_peak_c": _largest([gpu.temperature_c.peak for gpu in gpus]),
        "gpu_power_share": _largest([_of(gpu.power_w, gpu.power_limit_w) for gpu in gpus]),
    }
    if slowest is not None:
        fields["sm_clock_mean_mhz"] = slowest.sm_clock_mhz.mean
        fields["sm_clock_peak_mhz"] = slowest.sm_clock_mhz.peak
    return fields


def _clock_share(gpu: GpuSummary) -> float:
    mean, peak = gpu.sm_clock_mhz.mean, gpu.sm_clock_mhz.peak
    return mean / peak if mean is not None and peak else 1.0


def _memory_share(gpu: GpuSummary) -> float | None:
    used, total = gpu.memory_used_bytes.p95, gpu.memory_total_bytes
    return used / total if used is not None and total else None


def _of(level: Level, limit: float | None) -> float | None:
    return level.mean / limit if level.mean is not None and limit else None


def _allocator(analysis: RunAnalysis) -> dict[str, Any]:
    ranks = analysis.device_memory
    reserved = [each.peak_bytes for each in analysis.memory if each.name == "device reserved"]
    return {
        "device_reserved_bytes": _whole(_largest(reserved)),
        "device_unused_bytes": _whole(_largest([each.unused_bytes for each in ranks])),
        "device_split_bytes": _whole(_largest([each.inactive_split_bytes for each in ranks])),
    }


def _recompute_ms(analysis: RunAnalysis) -> float | None:
    """None where no backward of stages was recorded: then recomputation is not told apart."""
    totals = analysis.stage_totals
    return sum(each.recompute_ms or 0.0 for each in totals) if totals else None


def exchange_fields(use: CommunicationUse | None) -> dict[str, Any]:
    """What ranks exchange, on whatever device."""
    if use is None:
        return {}
    return {
        "exchange_ms": use.ms,
        "exchange_exposed_ms": use.least_exposed_ms,
        "exchange_step_ms": use.ms / use.share if use.share else None,
        "exchanges_per_step": use.exchanges,
        "exchange_passes": use.micro_batches,
        "exchange_bytes": use.num_bytes,
    }


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
