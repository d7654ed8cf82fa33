"""The host's memory, CPU and disk load, and the limits of this container; needs no PyTorch."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from vrtspike.profiling.records import HostRecord

CGROUP_ROOT = Path("/sys/fs/cgroup")
SELF_CGROUP = Path("/proc/self/cgroup")
SHARED_MEMORY = Path("/dev/shm")


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
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [_limits_above(line, root) for line in lines]
    limits = [limit for group in found for limit in group if limit.limit_bytes < ram_total_bytes]
    return min(limits, key=lambda limit: limit.limit_bytes, default=None)


def _limits_above(line: str, root: Path) -> list[CgroupMemory]:
    _, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if controllers == "":
        return _walk(root, path, _V2)
    if "memory" in controllers.split(","):
        return _walk(root / "memory", path, _V1)
    return []


def _walk(mount: Path, path: str, dialect: _Dialect) -> list[CgroupMemory]:
    folder = mount / path.strip("/")
    folders = [folder, *folder.parents]
    inside = [f for f in folders if f == mount or mount in f.parents]
    return [limit for f in inside if (limit := _read_limit(f, dialect)) is not None]


def _read_limit(folder: Path, dialect: _Dialect) -> CgroupMemory | None:
    limit = _number(folder / dialect.limit)
    used = _number(folder / dialect.used)
    if limit is None or used is None:
        return None
    cache = _stat(folder / "memory.stat", dialect.cache_key)
    return CgroupMemory(limit, max(0, used - cache))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # ValueError: the file says "max"
        return None


def _stat(path: Path, key: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    pairs = (line.split() for line in lines)
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == key), 0)


class HostLoad:
    """Samples the host; the first sample has no CPU use, since that needs two."""

    def __init__(self) -> None:
        self._sampled = False

    def sample(self) -> HostRecord:
        """The host's load now."""
        ram = psutil.virtual_memory()
        percent = psutil.cpu_percent(interval=None)
        first, self._sampled = not self._sampled, True
        cgroup = cgroup_memory(ram.total)
        shm_total, shm_used = _shared_memory()
        disk_read, disk_write = _disk_bytes()
        return HostRecord(
            ram_total_bytes=ram.total,
            ram_available_bytes=ram.available,
            ram_percent=ram.percent,
            swap_used_bytes=_swap_used_bytes(),
            cpu_percent=None if first else percent,
            cpus_allowed=cpus_allowed(),
            cgroup_limit_bytes=cgroup.limit_bytes if cgroup else None,
            cgroup_used_bytes=cgroup.used_bytes if cgroup else None,
            shm_total_bytes=shm_total,
            shm_used_bytes=shm_used,
            disk_read_bytes=disk_read,
            disk_write_bytes=disk_write,
        )


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
