"""What was read from a machine: its memory, limits, cores, GPUs and the processes of a trainer.

Plain facts, judged nowhere here. A value that could not be read is None, and `unknown` of the same
object says why, by field name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class HostState:
    """Memory and cores of the host, as this process may use them.

    `cgroup_limit_bytes` is None where no limit below the machine's memory applies; then
    `cgroup_used_bytes` is None as well. `cgroup_used_bytes` leaves out file pages that the kernel
    gives back on demand; they are `cgroup_cache_bytes`. `page_cache_bytes` are those of the whole
    machine, shared memory apart (`shmem_bytes`, whether in /dev/shm or not). The shares of
    `stall_share` and `cgroup_stall_share` are those of the last ten seconds in which some task, or
    every task, waited for a resource: `memory_some`, `io_full`. `cores_quota` is the cgroup's CPU
    quota in cores.
    """

    ram_total_bytes: int | None = None
    ram_available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    cgroup_version: int | None = None
    cgroup_limit_bytes: int | None = None
    cgroup_used_bytes: int | None = None
    cgroup_cache_bytes: int | None = None
    page_cache_bytes: int | None = None
    shmem_bytes: int | None = None
    stall_share: Mapping[str, float] = field(default_factory=dict)
    cgroup_stall_share: Mapping[str, float] = field(default_factory=dict)
    shm_total_bytes: int | None = None
    shm_used_bytes: int | None = None
    cores_online: int | None = None
    cores_affinity: int | None = None
    cores_quota: float | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    """A process that holds memory of a GPU; None where the driver does not tell how much."""

    pid: int
    used_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """One GPU as NVML sees it.

    `processes` are those of every user, by the numbers that the driver's own system gives them:
    inside a container they may be others than here. None was not told.
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    util_percent: float | None = None
    processes: tuple[GpuProcess, ...] | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class GpuStates:
    """All GPUs; none is `gpus=()` and `absent_reason` says why."""

    gpus: tuple[GpuState, ...] = ()
    absent_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """One process. `shared_bytes` are resident file and shared-memory pages.

    `pss_bytes` shares every page among its users, so that it may be summed over processes;
    `uss_bytes` are the pages nobody else has; `rss_bytes` counts shared pages in full each time.
    `shm_bytes` is the part of `pss_bytes` in shared memory. `locked_bytes` may not be swapped,
    such as pinned memory. `is_pinning` says whether a thread in it pins batches of a loader.
    """

    pid: int
    parent_pid: int
    name: str
    command: tuple[str, ...] = ()
    rank: int | None = None
    rss_bytes: int | None = None
    pss_bytes: int | None = None
    uss_bytes: int | None = None
    shared_bytes: int | None = None
    shm_bytes: int | None = None
    swap_bytes: int | None = None
    locked_bytes: int | None = None
    is_pinning: bool = False
    unknown: Mapping[str, str] = field(default_factory=dict)
