"""Parts of a sample of the machine, and what the sampler itself has to say; see `records`."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """One process of the trainer's tree. `role`: main, worker, sampler or other.

    `pss_bytes` counts a page shared by n processes 1/n times; it is costly to read and therefore
    null in most samples, as are `uss_bytes`, the pages that no other process has, `pss_shm_bytes`,
    the part of PSS in shared memory, and `swap_bytes`. `rss_bytes` less `shared_bytes` is the
    process's own memory, pages it still shares with the process it was forked from among it.
    `written_bytes` counts what it wrote to files of any kind, also in /dev/shm, and
    `storage_read_bytes` what it made the kernel fetch from a disk or a server (a file that the
    kernel still keeps counts for nothing); both about once a second. `rank` is null without a
    launcher. `cpu_percent` is since the last sample; 100 is one core busy.
    """

    pid: int
    role: str
    name: str
    rss_bytes: int
    shared_bytes: int | None = None
    pss_bytes: int | None = None
    uss_bytes: int | None = None
    pss_shm_bytes: int | None = None
    swap_bytes: int | None = None
    written_bytes: int | None = None
    storage_read_bytes: int | None = None
    rank: int | None = None
    cpu_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class HostRecord:
    """The host's load; `cgroup_*` are null where no limit below the host's memory applies.

    `cgroup_used_bytes` leaves out inactive file cache, which the kernel drops before it kills.
    `cpu_percent` is since the last sample; 100 is every core busy. What stands below
    `shm_used_bytes` is read about once a second and null in between. `core_percent` has one value
    for each core since it was last read; 100 is that core busy. `page_cache_bytes` is what the
    kernel keeps of files and gives back on demand, `shmem_bytes` all shared memory. Counters,
    which only grow: `disk_*`, `swap_in_bytes`, `swap_out_bytes`, `oom_kills` (of the machine),
    `cgroup_oom_kills`, `cgroup_cpu_throttled_us` (tasks held back by the quota) and
    `*pressure_*_us`, the time in which some task, or every task, waited for the resource (Linux
    pressure stall information), of the machine and of the own cgroup.
    """

    ram_total_bytes: int
    ram_available_bytes: int
    ram_percent: float
    cpu_percent: float | None = None
    shm_total_bytes: int | None = None
    shm_used_bytes: int | None = None
    core_percent: tuple[float, ...] | None = None
    cpus_allowed: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    swap_in_bytes: int | None = None
    swap_out_bytes: int | None = None
    page_cache_bytes: int | None = None
    shmem_bytes: int | None = None
    oom_kills: int | None = None
    disk_read_bytes: int | None = None
    disk_write_bytes: int | None = None
    pressure_cpu_some_us: int | None = None
    pressure_memory_some_us: int | None = None
    pressure_memory_full_us: int | None = None
    pressure_io_some_us: int | None = None
    pressure_io_full_us: int | None = None
    cgroup_version: int | None = None
    cgroup_limit_bytes: int | None = None
    cgroup_used_bytes: int | None = None
    cgroup_oom_kills: int | None = None
    cgroup_cores_quota: float | None = None
    cgroup_cpu_throttled_us: int | None = None
    cgroup_pressure_cpu_some_us: int | None = None
    cgroup_pressure_memory_some_us: int | None = None
    cgroup_pressure_memory_full_us: int | None = None
    cgroup_pressure_io_some_us: int | None = None
    cgroup_pressure_io_full_us: int | None = None


@dataclass(frozen=True, kw_only=True)
class GpuRecord:
    """One GPU as NVML sees it, or one instance of a GPU that is divided (MIG).

    A field that the driver does not support is null; an event `gpu_fields_unsupported` names those
    fields once. `error` says why a GPU that the driver lists does not answer; the next sample asks
    again. Of an instance, `index` is that of its GPU, `mig_index` its own and `parent_uuid` its
    GPU's. `util_percent` is the share of time in which any kernel ran; `sm_active_percent`,
    `sm_occupancy_percent`, `tensor_active_percent` and `dram_active_percent` tell how much of the
    GPU was at work (GPM, from Hopper on), since the last sample. `energy_j` is a counter.
    `pcie_*` and `nvlink_*` are rates; where only the call that takes tens of milliseconds tells
    PCIe's, it is null in most samples. `throttle_reasons` is NVML's bit mask of clock limits.
    """

    index: int
    mig_index: int | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    name: str | None = None
    util_percent: float | None = None
    memory_util_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle_reasons: int | None = None
    pcie_tx_bytes_per_s: float | None = None
    pcie_rx_bytes_per_s: float | None = None
    sm_active_percent: float | None = None
    sm_occupancy_percent: float | None = None
    tensor_active_percent: float | None = None
    dram_active_percent: float | None = None
    nvlink_tx_bytes_per_s: float | None = None
    nvlink_rx_bytes_per_s: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SamplerRecord:
    """What sampling itself has cost so far.

    `cpu_s` is the sampler's CPU time, `pss_cpu_s` the part that sweeps for PSS took; `missed`
    counts points of its time grid that it came too late for.
    """

    interval_s: float
    cpu_s: float
    pss_cpu_s: float = 0.0
    missed: int = 0
    lost_lines: int = 0


@dataclass(frozen=True, kw_only=True)
class MachineEventRecord:
    """What happened to the machine or its sampler; an event without a step, for it knows none."""

    kind: ClassVar[str] = "event"
    name: str
    at_unix_s: float
    values: dict[str, float | int | str | None] = field(default_factory=dict)
