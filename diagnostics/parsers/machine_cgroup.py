"""Limits that a container or a job scheduler sets: control groups, versions 1 and 2.

A limit may sit on any ancestor of the group, so all are read and the smallest counts. Inside a
container the path in /proc/self/cgroup may be the host's while only the container's own group is
mounted; then the mount's top is what applies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from diagnostics.parsers.machine_files import read_count, read_small, read_table

MOUNT = Path("sys/fs/cgroup")


@dataclass(frozen=True)
class CgroupMemory:
    """The smallest memory limit that applies, and the use of the group that has it.

    `limit_bytes` is None when no ancestor sets one. `used_bytes` leaves out inactive file pages,
    which the kernel drops before it kills anything; they are `cache_bytes`.
    """

    version: int
    limit_bytes: int | None
    used_bytes: int | None
    cache_bytes: int | None = None


def read_memory_limit(root: Path) -> CgroupMemory | None:
    """The memory limit of this process; None where there is no memory cgroup."""
    groups = _own_groups(root)
    if "memory" in groups:
        return _smallest(1, _ancestors(root / MOUNT / "memory", groups["memory"]))
    if "" in groups:
        return _smallest(2, _ancestors(root / MOUNT, groups[""]))
    return None


def group_folders(root: Path) -> tuple[Path, ...]:
    """The folders of this process's group of version 2 and its ancestors; none without one."""
    groups = _own_groups(root)
    return tuple(_ancestors(root / MOUNT, groups[""])) if "" in groups else ()


def read_cpu_quota(root: Path) -> float | None:
    """The smallest CPU quota that applies, in cores; None when there is none."""
    groups = _own_groups(root)
    quotas = []
    if "cpu" in groups:
        for mount in ("cpu", "cpu,cpuacct"):
            for folder in _ancestors(root / MOUNT / mount, groups["cpu"]):
                quota = read_count(folder / "cpu.cfs_quota_us")
                period = read_count(folder / "cpu.cfs_period_us")
                quotas.append((quota, period))
    elif "" in groups:
        folders = _ancestors(root / MOUNT, groups[""])
        quotas = [_quota_v2(read_small(folder / "cpu.max")) for folder in folders]
    return min((q / p for q, p in quotas if q and p), default=None)


def _quota_v2(text: str | None) -> tuple[int | None, int | None]:
    parts = (text or "").split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None, None
    return int(parts[0]), int(parts[1])


def _own_groups(root: Path) -> dict[str, str]:
    """Path of this process's group by controller; version 2 has the controller ""."""
    groups = {}
    for line in (read_small(root / "proc/self/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                groups[controller] = parts[2]
    return groups


def _ancestors(mount: Path, path: str) -> Iterator[Path]:
    """Folders of the group and its ancestors that exist here, from the inside out."""
    parts = PurePosixPath(path).parts[1:]
    if ".." in parts:  # the group lies outside what this namespace shows
        parts = ()
    for length in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:length])
        if folder.is_dir():
            yield folder


def _smallest(version: int, folders: Iterator[Path]) -> CgroupMemory | None:
    found = [_memory(version, folder) for folder in folders]
    if not found:
        return None
    limited = [memory for memory in found if memory.limit_bytes is not None]
    if not limited:
        return CgroupMemory(version, None, None)
    return min(limited, key=lambda memory: memory.limit_bytes or 0)


def _memory(version: int, folder: Path) -> CgroupMemory:
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    else:
        names = ("memory.max", "memory.current", "inactive_file")
    used = read_count(folder / names[1])
    cache = read_table(folder / "memory.stat").get(names[2])
    if used is not None:
        used = max(0, used - (cache or 0))
    return CgroupMemory(version, read_count(folder / names[0]), used, cache)
