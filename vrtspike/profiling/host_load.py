"""The host's memory, CPU and disk load, and the limits of this container; needs no PyTorch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from vrtspike.profiling.cgroup_load import (
    CGROUP_ROOT,
    SELF_CGROUP,
    CgroupLoad,
    CgroupReader,
    group_and_above,
    own_groups,
    pressure,
)
from vrtspike.profiling.kernel_files import number, read_small, table
from vrtspike.profiling.records import HostRecord

SHARED_MEMORY = Path("/dev/shm")
PRESSURE = Path("/proc/pressure")
VMSTAT = Path("/proc/vmstat")
MEMINFO = Path("/proc/meminfo")
DETAILS_EVERY_S = 1.0
"""Cores, pressure, limits and disks are read this often: the kernel counts CPU time in steps of
10 ms, too coarse for one core over a fifth of a second, and the rest are counters."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True)
class CgroupMemory:
    """A memory limit and what counts against it, both in bytes."""

    limit_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class _Dialect:
    """File names of one cgroup version."""

    limit: str
    used: str
    cache_key: str


_V2 = _Dialect("memory.max", "memory.current", "inactive_file")
_V1 = _Dialect("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def cgroup_memory(
    ram_total_bytes: int, *, root: Path = CGROUP_ROOT, membership: Path = SELF_CGROUP
) -> CgroupMemory | None:
    """The tightest cgroup memory limit above this process, v2 or v1.

    Args:
        ram_total_bytes: The host's memory; a limit at or above it is none.
        root: Where the cgroup file systems are mounted.
        membership: The process's `/proc/<pid>/cgroup`.
    """
    groups = own_groups(membership)
    found = []
    if "memory" in groups:
        found += _limits(root / "memory", groups["memory"], _V1)
    if "" in groups:
        found += _limits(root, groups[""], _V2)
    limits = [each for each in found if each.limit_bytes < ram_total_bytes]
    return min(limits, key=lambda limit: limit.limit_bytes, default=None)


def _limits(mount: Path, path: str, dialect: _Dialect) -> list[CgroupMemory]:
    folders = group_and_above(mount, path)
    return [limit for each in folders if (limit := _read_limit(each, dialect)) is not None]


def _read_limit(folder: Path, dialect: _Dialect) -> CgroupMemory | None:
    limit = number(read_small(folder / dialect.limit))
    used = number(read_small(folder / dialect.used))
    if limit is None or used is None:
        return None
    cache = table(read_small(folder / "memory.stat")).get(dialect.cache_key, 0)
    return CgroupMemory(limit, max(0, used - cache))


class HostLoad:
    """Samples the host; the first sample has no CPU use, since that needs two."""

    def __init__(self) -> None:
        self._sampled = False
        self._cgroup = CgroupReader()

    def sample(self, *, with_details: bool = True) -> HostRecord:
        """The host's load now; `with_details` reads what `DETAILS_EVERY_S` names, too."""
        ram = psutil.virtual_memory()
        percent = psutil.cpu_percent(interval=None)
        first, self._sampled = not self._sampled, True
        shm_total, shm_used = _shared_memory()
        return HostRecord(
            ram_total_bytes=ram.total,
            ram_available_bytes=ram.available,
            ram_percent=ram.percent,
            cpu_percent=None if first else percent,
            shm_total_bytes=shm_total,
            shm_used_bytes=shm_used,
            **(self._details(ram.total, first) if with_details else {}),
        )

    def _details(self, ram_total_bytes: int, first: bool) -> dict[str, Any]:
        cores = psutil.cpu_percent(interval=None, percpu=True)
        memory = cgroup_memory(ram_total_bytes)
        disk_read, disk_write = _disk_bytes()
        return {
            "core_percent": None if first else tuple(cores),
            "cpus_allowed": cpus_allowed(),
            "cgroup_limit_bytes": memory.limit_bytes if memory else None,
            "cgroup_used_bytes": memory.used_bytes if memory else None,
            "disk_read_bytes": disk_read,
            "disk_write_bytes": disk_write,
            **_memory_kinds(table(read_small(MEMINFO))),
            **_pressure_fields("pressure", pressure(PRESSURE)),
            **_cgroup_fields(self._cgroup.read()),
        }


def _cgroup_fields(load: CgroupLoad) -> dict[str, Any]:
    return {
        "cgroup_version": load.version,
        "cgroup_oom_kills": load.oom_kills,
        "cgroup_cores_quota": load.cores_quota,
        "cgroup_cpu_throttled_us": load.cpu_throttled_us,
        **_pressure_fields("cgroup_pressure", load.stall_us or {}),
    }


def _pressure_fields(prefix: str, stalls: Mapping[tuple[str, str], int]) -> dict[str, int | None]:
    # All tasks of a machine never wait for the CPU at once: the kernel's `full` of it is 0.
    kinds = [("cpu", "some"), *((r, k) for r in ("memory", "io") for k in ("some", "full"))]
    return {f"{prefix}_{name}_{kind}_us": stalls.get((name, kind)) for name, kind in kinds}


def _memory_kinds(memory: Mapping[str, int]) -> dict[str, int | None]:
    """Swap, files kept in memory, and shared memory, from the lines of /proc/meminfo (KiB)."""
    shmem = memory.get("Shmem")
    cached, buffers = memory.get("Cached"), memory.get("Buffers")
    files = None
    if shmem is not None and cached is not None and buffers is not None:
        files = max(0, cached + buffers - shmem) * 1024  # the kernel counts shared memory as cached
    return {
        "page_cache_bytes": files,
        "shmem_bytes": None if shmem is None else shmem * 1024,
        **_swap(memory),
    }


def _swap(memory: Mapping[str, int]) -> dict[str, int | None]:
    counters = table(read_small(VMSTAT))
    total, free = memory.get("SwapTotal"), memory.get("SwapFree")
    if total is None or free is None:
        return {"swap_used_bytes": _swap_used_bytes()}
    return {
        "swap_total_bytes": total * 1024,
        "swap_used_bytes": (total - free) * 1024,
        "swap_in_bytes": _pages(counters.get("pswpin")),
        "swap_out_bytes": _pages(counters.get("pswpout")),
        "oom_kills": counters.get("oom_kill"),
    }


def _pages(count: int | None) -> int | None:
    return None if count is None else count * _PAGE_BYTES


def cpus_allowed() -> int | None:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _swap_used_bytes() -> int | None:
    try:
        return int(psutil.swap_memory().used)
    except (OSError, RuntimeError):
        return None


def _shared_memory() -> tuple[int | None, int | None]:
    try:
        usage = psutil.disk_usage(str(SHARED_MEMORY))
    except OSError:
        return None, None
    return usage.total, usage.used


def _disk_bytes() -> tuple[int | None, int | None]:
    try:
        counters = psutil.disk_io_counters()
    except (OSError, RuntimeError, NotImplementedError):
        return None, None
    if counters is None:
        return None, None
    return counters.read_bytes, counters.write_bytes
