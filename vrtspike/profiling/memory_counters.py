"""What the kernel counts about memory that ran out, read when a run begins and ends; no PyTorch.

A process that the kernel's OOM killer ends can say nothing. These counters of the machine and of
the own control group tell it apart from one that a person killed: what they have grown by.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vrtspike.profiling.cgroup_load import (
    CGROUP_ROOT,
    SELF_CGROUP,
    group_and_above,
    own_groups,
)
from vrtspike.profiling.kernel_files import number, read_small, table

VMSTAT = Path("/proc/vmstat")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_LIMIT_BYTES = 1 << 62
"""Version 1 writes a number just below 2**63 where there is no limit."""


@dataclass(frozen=True, kw_only=True)
class MemoryCounters:
    """Counters that only grow, and what they belong to; None where the kernel does not tell.

    `oom_kills` counts on the whole machine, `cgroup_oom_kills` the victims that were in the own
    group, whichever limit they died for. `cgroup_id` is the number of the group's folder: another
    group that gets its name later has another. `limit_path` is the group with the smallest limit,
    this one or one above it: `limit_bytes`, reached `limit_hits` times (memory.failcnt; `max` of
    memory.events in version 2), and `limit_ooms` times without anything left to give back (version
    2 only), with `peak_bytes` used at most.
    """

    boot_id: str | None = None
    oom_kills: int | None = None
    cgroup_version: int | None = None
    cgroup_path: str | None = None
    cgroup_id: int | None = None
    cgroup_oom_kills: int | None = None
    limit_path: str | None = None
    limit_bytes: int | None = None
    limit_hits: int | None = None
    limit_ooms: int | None = None
    peak_bytes: int | None = None

    def as_values(self) -> dict[str, float | int | str | None]:
        """For an event."""
        return asdict(self)


def read_memory_counters(
    *,
    root: Path = CGROUP_ROOT,
    membership: Path = SELF_CGROUP,
    vmstat: Path = VMSTAT,
    boot_id: Path = BOOT_ID,
) -> MemoryCounters:
    """The counters now, of the machine and of the group of the process that asks.

    Args:
        root: Where the cgroup file systems are mounted.
        membership: The process's `/proc/<pid>/cgroup`.
        vmstat: The machine's counters.
        boot_id: The random name of this start of the machine.
    """
    groups = own_groups(membership)
    boot = (read_small(boot_id) or "").strip() or None
    kills = table(read_small(vmstat)).get("oom_kill")
    if "memory" in groups:
        mount, path, version = root / "memory", groups["memory"], 1
    elif "" in groups:
        mount, path, version = root, groups[""], 2
    else:
        return MemoryCounters(boot_id=boot, oom_kills=kills)
    folders = [each for each in group_and_above(mount, path) if each.is_dir()]
    if not folders:
        return MemoryCounters(boot_id=boot, oom_kills=kills)
    return MemoryCounters(
        boot_id=boot,
        oom_kills=kills,
        cgroup_version=version,
        cgroup_path=_below(mount, folders[0]),
        cgroup_id=_id(folders[0]),
        cgroup_oom_kills=_kills(version, folders[0]),
        **_limit(version, mount, folders),
    )


def _below(mount: Path, folder: Path) -> str:
    below = folder.relative_to(mount).as_posix()
    return "/" if below == "." else f"/{below}"


def _id(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _kills(version: int, folder: Path) -> int | None:
    if version == 1:
        return table(read_small(folder / "memory.oom_control")).get("oom_kill")
    return table(read_small(folder / "memory.events")).get("oom_kill")


def _limit(version: int, mount: Path, folders: list[Path]) -> dict[str, Any]:
    """Of the folder with the smallest limit; nothing without one."""
    name = "memory.limit_in_bytes" if version == 1 else "memory.max"
    found = [(limit, each) for each in folders if (limit := number(read_small(each / name)))]
    held = [(limit, each) for limit, each in found if limit < _NO_LIMIT_BYTES]
    if not held:
        return {}
    limit, folder = min(held, key=lambda each: each[0])
    known: dict[str, Any] = {
        "limit_path": _below(mount, folder),
        "limit_bytes": limit,
    }
    if version == 1:
        known["limit_hits"] = number(read_small(folder / "memory.failcnt"))
        known["peak_bytes"] = number(read_small(folder / "memory.max_usage_in_bytes"))
    else:
        events = table(read_small(folder / "memory.events"))
        # What happened at this group's own limit and not below it, where the kernel tells.
        own = table(read_small(folder / "memory.events.local")) or events
        known["limit_hits"], known["limit_ooms"] = own.get("max"), own.get("oom")
        known["peak_bytes"] = number(read_small(folder / "memory.peak"))
    return known
