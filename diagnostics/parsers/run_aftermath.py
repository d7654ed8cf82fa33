"""What this machine still tells about a run that ended without a word, or that a death ended."""

import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from diagnostics.aftermath import Aftermath, MemoryCounters
from diagnostics.language import say
from diagnostics.parsers.kernel_log import KernelLog, read_kernel_log
from diagnostics.parsers.machine_cgroup import MOUNT
from diagnostics.parsers.machine_files import read_count, read_small, read_table
from diagnostics.parsers.running_runs import process_start_s
from diagnostics.run import RunInfo

_CLOCK_SLACK_S = 2.0


@dataclass(frozen=True, kw_only=True)
class AftermathSources:
    """Where the readings come from; tests put a folder and functions of their own here."""

    root: Path = Path("/")
    host: Callable[[], str] = socket.gethostname
    now_s: Callable[[], float] = time.time
    process_start_s: Callable[[int], float | None] = process_start_s
    kernel_log: Callable[[float | None], KernelLog] = read_kernel_log


def read_aftermath(
    info: RunInfo, recorded: MemoryCounters | None, sources: AftermathSources | None = None
) -> Aftermath | None:
    """What can be known now; None for a run that ended well, or that tells no machine.

    Args:
        info: The run.
        recorded: The counters that it wrote down last, of the machine of its rank 0.
        sources: Where to read.
    """
    sources = sources or AftermathSources()
    if info.status not in ("running", "failed") or info.host is None:
        return None
    now_s = sources.now_s()
    if not _is_here(info.host, sources.host()):
        reason = say("the run was on another machine ({host})", host=info.host)
        return Aftermath(read_at_unix_s=now_s, unknown=(reason,))
    began_s = _began_s(info)
    if info.status == "running" and _is_alive(info, began_s, sources):
        return Aftermath(read_at_unix_s=now_s, is_alive=True)
    if _was_restarted(recorded, began_s, sources.root):
        reason = "the machine was restarted after the run, which takes its counters and its log"
        return Aftermath(read_at_unix_s=now_s, is_alive=False, unknown=(reason,))
    log = sources.kernel_log(None if began_s is None else began_s - _CLOCK_SLACK_S)
    counters, problem = _counters_now(recorded, sources.root, now_s)
    return Aftermath(
        read_at_unix_s=now_s,
        is_alive=False,
        counters=counters,
        kills=log.kills,
        log_source=log.source,
        log_problem=log.problem,
        unknown=() if problem is None else (problem,),
    )


def _is_here(host: str, own: str) -> bool:
    label = f"host-{hashlib.sha256(own.encode()).hexdigest()[:8]}"  # as runs redact it
    return host in (own, label)


def _began_s(info: RunInfo) -> float | None:
    try:
        said = datetime.fromisoformat(info.started_at or "")
    except ValueError:
        return None
    return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()


def _is_alive(info: RunInfo, began_s: float | None, sources: AftermathSources) -> bool:
    """A process of that number that began after the run did is another one."""
    if not info.pid:
        return False
    started_s = sources.process_start_s(info.pid)
    if started_s is None:
        return False
    return began_s is None or started_s <= began_s + _CLOCK_SLACK_S


def _was_restarted(recorded: MemoryCounters | None, began_s: float | None, root: Path) -> bool:
    now = _boot_id(root)
    if recorded is not None and recorded.boot_id is not None and now is not None:
        return recorded.boot_id != now
    booted_s = read_table(root / "proc/stat").get("btime")
    return booted_s is not None and began_s is not None and booted_s > began_s + _CLOCK_SLACK_S


def _boot_id(root: Path) -> str | None:
    return (read_small(root / "proc/sys/kernel/random/boot_id") or "").strip() or None


def _counters_now(
    recorded: MemoryCounters | None, root: Path, now_s: float
) -> tuple[MemoryCounters | None, str | None]:
    """Those of the machine, and of the run's group if it is still the same one."""
    kills = read_table(root / "proc/vmstat").get("oom_kill")
    machine = MemoryCounters(at_unix_s=now_s, moment="now", boot_id=_boot_id(root), oom_kills=kills)
    if recorded is None or not (recorded.cgroup_path or "").startswith("/"):
        return machine, "the run did not write down which control group it was in"
    folder = _folder(root, recorded.cgroup_version, recorded.cgroup_path or "")
    if folder is None or _number_of(folder) != recorded.cgroup_id:
        return machine, say("its control group {path} is gone", path=recorded.cgroup_path)
    limited = _folder(root, recorded.cgroup_version, recorded.limit_path or "")
    counters = MemoryCounters(
        at_unix_s=now_s,
        moment="now",
        boot_id=machine.boot_id,
        oom_kills=kills,
        cgroup_version=recorded.cgroup_version,
        cgroup_path=recorded.cgroup_path,
        cgroup_id=recorded.cgroup_id,
        cgroup_oom_kills=_kills(folder),
        limit_path=recorded.limit_path,
        **({} if limited is None else _limit(limited)),
    )
    return counters, None


def _folder(root: Path, version: int | None, path: str) -> Path | None:
    """The group's folder; None where the path leads elsewhere."""
    parts = PurePosixPath(path).parts
    if not path.startswith("/") or ".." in parts:
        return None
    mount = root / MOUNT / "memory" if version == 1 else root / MOUNT
    return mount.joinpath(*parts[1:])


def _number_of(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except (OSError, ValueError):
        return None


def _kills(folder: Path) -> int | None:
    """Version 1 counts in memory.oom_control, version 2 in memory.events."""
    for name in ("memory.oom_control", "memory.events"):
        if (count := read_table(folder / name).get("oom_kill")) is not None:
            return count
    return None


def _limit(folder: Path) -> dict[str, int | None]:
    """Of the group that has the limit: of version 1, else of version 2."""
    if (limit := read_count(folder / "memory.limit_in_bytes")) is not None:
        return {
            "limit_bytes": limit,
            "limit_hits": read_count(folder / "memory.failcnt"),
            "peak_bytes": read_count(folder / "memory.max_usage_in_bytes"),
        }
    events = read_table(folder / "memory.events.local") or read_table(folder / "memory.events")
    return {
        "limit_bytes": read_count(folder / "memory.max"),
        "limit_hits": events.get("max"),
        "limit_ooms": events.get("oom"),
        "peak_bytes": read_count(folder / "memory.peak"),
    }
