"""The host's memory, limits and cores: /proc/meminfo, cgroup, statvfs, or psutil without /proc."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from diagnostics.language import say
from diagnostics.machine import HostState
from diagnostics.parsers.machine_cgroup import read_cpu_quota, read_memory_limit
from diagnostics.parsers.machine_files import read_small
from diagnostics.parsers.machine_pressure import read_group_pressure, read_pressure

MEMINFO_FIELDS = {
    "ram_total_bytes": "MemTotal",
    "ram_available_bytes": "MemAvailable",
    "swap_total_bytes": "SwapTotal",
}


CACHE_FIELDS = ("page_cache_bytes", "shmem_bytes")


def _affinity() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return None


@dataclass(frozen=True, kw_only=True)
class HostSources:
    """Where the readings come from; tests put a folder and functions of their own here."""

    root: Path = Path("/")
    statvfs: Callable[[Path], Any] = os.statvfs
    is_mount: Callable[[Path], bool] = os.path.ismount
    affinity: Callable[[], int | None] = _affinity
    cores_online: Callable[[], int | None] = os.cpu_count


@dataclass
class _Readings:
    values: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def missing(self, reason: str, *names: str) -> None:
        self.unknown.update(dict.fromkeys(names, reason))


def read_host(sources: HostSources | None = None) -> HostState:
    """Read the machine this process runs on; what cannot be read is None with its reason."""
    sources = sources or HostSources()
    readings = _Readings()
    _read_memory(sources, readings)
    _read_limit(sources, readings)
    _read_shm(sources, readings)
    readings.values["cores_online"] = sources.cores_online()
    readings.values["cores_affinity"] = sources.affinity()
    if readings.values["cores_affinity"] is None:
        readings.missing("this system has no processor affinity", "cores_affinity")
    readings.values["cores_quota"] = read_cpu_quota(sources.root)
    readings.values["stall_share"] = read_pressure(sources.root)
    readings.values["cgroup_stall_share"] = read_group_pressure(sources.root)
    return HostState(**readings.values, unknown=readings.unknown)


def _read_memory(sources: HostSources, readings: _Readings) -> None:
    text = read_small(sources.root / "proc/meminfo")
    if text is None:
        _read_memory_psutil(sources, readings)
        return
    table = _meminfo(text)
    for name, key in MEMINFO_FIELDS.items():
        readings.values[name] = table.get(key)
        if key not in table:
            readings.missing(say("/proc/meminfo has no {key}", key=key), name)
    _read_cached(table, readings)
    total, free = table.get("SwapTotal"), table.get("SwapFree")
    if total is None or free is None:
        readings.missing("/proc/meminfo has no SwapFree", "swap_used_bytes")
    else:
        readings.values["swap_used_bytes"] = total - free


def _read_cached(table: dict[str, int], readings: _Readings) -> None:
    """The kernel counts shared memory as cached; it is none that can be given back."""
    shmem, cached = table.get("Shmem"), table.get("Cached")
    if shmem is None or cached is None:
        readings.missing("/proc/meminfo has no Cached and Shmem", *CACHE_FIELDS)
        return
    files = max(0, cached + table.get("Buffers", 0) - shmem)
    readings.values.update(page_cache_bytes=files, shmem_bytes=shmem)


def _meminfo(text: str) -> dict[str, int]:
    table = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        parts = rest.split()
        if parts and parts[0].isdigit():
            table[key] = int(parts[0]) * (1024 if parts[1:] == ["kB"] else 1)
    return table


def _read_memory_psutil(sources: HostSources, readings: _Readings) -> None:
    names = (*MEMINFO_FIELDS, "swap_used_bytes", *CACHE_FIELDS)
    if sources.root != Path("/"):
        readings.missing("/proc/meminfo cannot be read", *names)
        return
    try:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    except (OSError, RuntimeError, psutil.Error) as error:
        readings.missing(say("the system does not tell: {error}", error=error), *names)
        return
    readings.values.update(
        ram_total_bytes=memory.total,
        ram_available_bytes=memory.available,
        swap_total_bytes=swap.total,
        swap_used_bytes=swap.used,
    )
    readings.missing("this system does not tell it", *CACHE_FIELDS)


def _read_limit(sources: HostSources, readings: _Readings) -> None:
    limit = read_memory_limit(sources.root)
    names = ("cgroup_limit_bytes", "cgroup_used_bytes", "cgroup_cache_bytes")
    if limit is None:
        readings.missing("no memory cgroup here", *names)
        return
    readings.values["cgroup_version"] = limit.version
    total = readings.values.get("ram_total_bytes")
    if limit.limit_bytes is None or (total is not None and limit.limit_bytes >= total):
        reason = "the memory cgroup sets no limit below the machine's memory"
        readings.missing(reason, *names)
        return
    readings.values["cgroup_limit_bytes"] = limit.limit_bytes
    readings.values["cgroup_used_bytes"] = limit.used_bytes
    readings.values["cgroup_cache_bytes"] = limit.cache_bytes
    if limit.used_bytes is None:
        readings.missing("the cgroup's use cannot be read", "cgroup_used_bytes")
    if limit.cache_bytes is None:
        readings.missing("the cgroup's use cannot be read", "cgroup_cache_bytes")


def _read_shm(sources: HostSources, readings: _Readings) -> None:
    path = sources.root / "dev/shm"
    names = ("shm_total_bytes", "shm_used_bytes")
    try:
        if not sources.is_mount(path):
            readings.missing("there is no shared-memory file system at /dev/shm", *names)
            return
        state = sources.statvfs(path)
    except OSError as error:
        readings.missing(say("/dev/shm: {error}", error=error.strerror or str(error)), *names)
        return
    readings.values["shm_total_bytes"] = state.f_blocks * state.f_frsize
    readings.values["shm_used_bytes"] = (state.f_blocks - state.f_bfree) * state.f_frsize
