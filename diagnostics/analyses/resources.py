"""What the machine did beside the training: CPU, memory, disks, GPUs, processes by role."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Level:
    """A sampled quantity; None where no sample held it. Its unit stands in the field's name."""

    count: int
    mean: float | None
    median: float | None
    p95: float | None
    peak: float | None


@dataclass(frozen=True, kw_only=True)
class HostSummary:
    """One machine over the run; the rates are differences of its counters over time."""

    host: str
    num_samples: int
    duration_s: float | None
    cpu_percent: Level
    ram_percent: Level
    cpus_allowed: float | None
    ram_total_bytes: float | None
    ram_available_min_bytes: float | None
    swap_used_max_bytes: float | None
    cgroup_limit_bytes: float | None
    cgroup_used_max_bytes: float | None
    shm_total_bytes: float | None
    shm_used_max_bytes: float | None
    disk_read_bytes_per_s: float | None
    disk_write_bytes_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class GpuSummary:
    """One GPU of one machine over the run."""

    host: str
    index: int
    name: str | None
    num_samples: int
    util_percent: Level
    memory_used_bytes: Level
    memory_total_bytes: float | None
    power_w: Level
    power_limit_w: float | None
    temperature_c: Level
    sm_clock_mhz: Level
    throttle_reasons: int | None


@dataclass(frozen=True, kw_only=True)
class ProcessSummary:
    """The processes of one role on one machine; sizes are sums over them, per sample."""

    host: str
    role: str
    max_count: int
    rss_bytes: Level
    pss_bytes: Level
    cpu_percent: Level


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything sampled. Empty tuples: not sampled; `reasons` says why where it is known."""

    hosts: tuple[HostSummary, ...] = ()
    gpus: tuple[GpuSummary, ...] = ()
    processes: tuple[ProcessSummary, ...] = ()
    gpus_absent_reason: str | None = None
    reasons: tuple[str, ...] = ()
