"""What the process's own control group allows and what it suffered; needs no PyTorch.

Versions 1 and 2 have other files for the same thing. In a container the path in
/proc/self/cgroup may be the host's while only the container's group is mounted; then the nearest
folder that exists above it counts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vrtspike.profiling.kernel_files import number, read_small, stall_us, table

CGROUP_ROOT = Path("/sys/fs/cgroup")
SELF_CGROUP = Path("/proc/self/cgroup")
_CPU_MOUNTS_V1 = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


@dataclass(frozen=True, kw_only=True)
class CgroupLoad:
    """Counters and limits of the own group; None where the kernel does not tell.

    `stall_us` maps (resource, kind) to microseconds of waiting so far. `oom_kills` counts
    processes of the group that the kernel killed for memory. `cores_quota` is None without one.
    """

    version: int | None = None
    oom_kills: int | None = None
    cores_quota: float | None = None
    cpu_throttled_us: int | None = None
    stall_us: Mapping[tuple[str, str], int] | None = None


def own_groups(membership: Path = SELF_CGROUP) -> dict[str, str]:
    """Path of the process's group by controller; that of version 2 has the controller ""."""
    groups = {}
    for line in (read_small(membership) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def group_and_above(mount: Path, path: str) -> list[Path]:
    """The group's folder and those above it, up to the mount, whether they exist or not."""
    folder = mount / path.strip("/")
    return [each for each in (folder, *folder.parents) if each == mount or mount in each.parents]


class CgroupReader:
    """Reads the own group again and again; finds its folders once.

    Args:
        root: Where the cgroup file systems are mounted.
        membership: The process's `/proc/<pid>/cgroup`.
    """

    def __init__(self, root: Path = CGROUP_ROOT, membership: Path = SELF_CGROUP) -> None:
        groups = own_groups(membership)
        self._unified = list(_existing(root, groups.get(""), ("",)))
        self._memory_v1 = list(_existing(root, groups.get("memory"), ("memory",)))
        self._cpu_v1 = list(_existing(root, groups.get("cpu"), _CPU_MOUNTS_V1))

    @property
    def version(self) -> int | None:
        """1, 2, or None without control groups; what limits the memory decides."""
        if self._memory_v1:
            return 1
        return 2 if _first(self._unified, "cgroup.controllers") is not None else None

    def read(self) -> CgroupLoad:
        """The group's counters now."""
        version = self.version
        if version is None:
            return CgroupLoad()
        if version == 1:
            kills = table(_first(self._memory_v1, "memory.oom_control")).get("oom_kill")
            throttled_ns = table(_first(self._cpu_v1, "cpu.stat")).get("throttled_time")
            throttled_us = None if throttled_ns is None else throttled_ns // 1000
            return CgroupLoad(
                version=1,
                oom_kills=kills,
                cores_quota=_smallest(map(_quota_v1, self._cpu_v1)),
                cpu_throttled_us=throttled_us,
            )
        return CgroupLoad(
            version=2,
            oom_kills=table(_first(self._unified, "memory.events")).get("oom_kill"),
            cores_quota=_smallest(map(_quota_v2, self._unified)),
            cpu_throttled_us=table(_first(self._unified, "cpu.stat")).get("throttled_usec"),
            stall_us=_stalls(self._unified),
        )


def cores_quota(root: Path = CGROUP_ROOT, membership: Path = SELF_CGROUP) -> float | None:
    """The smallest quota of cores on the own group and all above it, of either version."""
    groups = own_groups(membership)
    unified = [root, *_existing(root, groups.get(""), ("",))]
    old = [root / mount for mount in _CPU_MOUNTS_V1]
    old += _existing(root, groups.get("cpu"), _CPU_MOUNTS_V1)
    return _smallest(iter([*map(_quota_v2, unified), *map(_quota_v1, old)]))


def pressure(folder: Path, ending: str = "") -> dict[tuple[str, str], int]:
    """Microseconds of waiting so far by (resource, kind), from the pressure files of a folder."""
    found = {}
    for resource in ("cpu", "memory", "io"):
        text = read_small(folder / f"{resource}{ending}")
        for kind in ("some", "full"):
            waited = stall_us(text, kind)
            if waited is not None:
                found[resource, kind] = waited
    return found


def _existing(root: Path, path: str | None, mounts: tuple[str, ...]) -> Iterator[Path]:
    for mount in mounts if path is not None else ():
        yield from (each for each in group_and_above(root / mount, path or "") if each.is_dir())


def _first(folders: list[Path], name: str) -> str | None:
    texts = (read_small(folder / name) for folder in folders)
    return next((text for text in texts if text is not None), None)


def _stalls(folders: list[Path]) -> dict[tuple[str, str], int] | None:
    return next((found for folder in folders if (found := pressure(folder, ".pressure"))), None)


def _quota_v1(folder: Path) -> float | None:
    quota = number(read_small(folder / "cpu.cfs_quota_us"))
    period = number(read_small(folder / "cpu.cfs_period_us"))
    return quota / period if quota and period and quota > 0 else None


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = (read_small(folder / "cpu.max") or "").partition(" ")
    has_quota = quota.isdigit() and period.strip().isdigit() and int(period) > 0
    return int(quota) / int(period) if has_quota else None


def _smallest(quotas: Iterator[float | None]) -> float | None:
    return min((quota for quota in quotas if quota is not None), default=None)
