"""What rules look at of the GPUs, part of `Measurements`: clocks, room, sharing, exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class DeviceFields:
    """Of the run's own GPUs, the one that has it worst; None was not recorded."""

    gpu_util_p95_percent: float | None = None
    """The busiest of the GPUs."""
    gpu_memory_p95_share: float | None = None
    """The fullest of the GPUs."""
    throttle_share: Mapping[str, float] = field(default_factory=dict)
    """Share of samples by reason for a lower clock, those of an idle GPU apart."""
    num_gpu_samples: int = 0
    sm_clock_mean_mhz: float | None = None
    sm_clock_peak_mhz: float | None = None
    gpu_temperature_peak_c: float | None = None
    gpu_power_share: float | None = None
    """Mean power, of the power limit."""
    gpu_other_bytes: int | None = None
    """On the GPU beside what the ranks' allocators reserve: contexts, and other processes."""

    device_reserved_bytes: int | None = None
    """Most that the allocator of any rank reserved."""
    device_unused_bytes: int | None = None
    """Most that it held at the end of a step beside what tensors held."""
    device_split_bytes: int | None = None
    """The part of it in split blocks, which cannot be given back."""
    device_memory_growth_bytes_per_step: float | None = None
    """Of what tensors hold at the end of a step, on the rank where it grows most; else 0."""
    device_memory_growth_steps: tuple[float, float] | None = None
    """The stretch in which it does: its first and its last step."""
    device_memory_growth_of: Mapping[str, float] = field(default_factory=dict)
    """The same by rank, with its process where it is known, the steepest first."""
    device_memory_course_steps: int | None = None
    traced_reserved_bytes: int | None = None
    """Of the fullest GPU, most that PyTorch reserved while a profiler trace was recorded."""
    traced_allocated_bytes: int | None = None
    """The same, most that tensors held."""
    traced_total_bytes: int | None = None
    """The same, what the GPU has."""
    traced_device: int | None = None
    """Its number; None where no trace tells the memory of a GPU."""
    traced_file: str | None = None
    recompute_ms: float | None = None
    """Of a step, for activations computed again in the backward; 0 where none were."""

    exchange_ms: float | None = None
    """Of a step, while gradients were on their way between ranks."""
    exchange_exposed_ms: float | None = None
    """The part of it that no backward hid, for the rank that waits least: the transfer itself."""
    exchange_step_ms: float | None = None
    exchanges_per_step: float | None = None
    exchange_passes: float | None = None
    """Backward passes of a step."""
    exchange_bytes: float | None = None
