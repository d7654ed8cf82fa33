"""Runs that say they are running, and whose process on this machine is there to prove it."""

import hashlib
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.facts import read_meta
from diagnostics.parsers.locate import runs_below
from diagnostics.run import RunInfo

StartedS = Callable[[int], float | None]
_MOST_RUNS = 200
"""So many of the newest folders are looked at; names begin with the date."""
_CLOCK_SLACK_S = 2.0


def process_start_s(pid: int) -> float | None:
    """When a process began, in seconds since the epoch; None where there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError, OverflowError):
        return None


def running_pids(
    profiles_dir: Path,
    *,
    host: str | None = None,
    started_s: StartedS = process_start_s,
) -> frozenset[int]:
    """Process ids of rank 0 of each run below the folder that runs on this machine.

    A run that was killed says "running", too: its process is gone, or its number belongs to a
    process that began after the run did.

    Args:
        profiles_dir: The folder of runs; one that cannot be read holds none.
        host: This machine's name.
        started_s: When a process began.
    """
    names = _names(host)
    try:
        folders = runs_below(profiles_dir).folders[-_MOST_RUNS:]
    except DiagnosticsError:
        return frozenset()
    found = (_pid_of(folder, names, started_s) for folder in folders)
    return frozenset(pid for pid in found if pid is not None)


def _pid_of(folder: Path, hosts: set[str], started_s: StartedS) -> int | None:
    try:
        meta = read_meta(folder)
    except DiagnosticsError:
        return None
    claimed = RunInfo(status=meta.status, host=meta.host, pid=meta.pid, started_at=meta.started_at)
    return _pid_if_running(claimed, hosts, started_s)


def pid_if_running(
    info: RunInfo, *, host: str | None = None, started_s: StartedS = process_start_s
) -> int | None:
    """The process of rank 0 if the run goes on, on this machine; the arguments are as above."""
    return _pid_if_running(info, _names(host), started_s)


def _names(host: str | None) -> set[str]:
    own = host or socket.gethostname()
    return {own, f"host-{hashlib.sha256(own.encode()).hexdigest()[:8]}"}  # as runs redact it


def _pid_if_running(info: RunInfo, hosts: set[str], started_s: StartedS) -> int | None:
    if info.status != "running" or info.host not in hosts or not info.pid or not info.started_at:
        return None
    try:
        said = datetime.fromisoformat(info.started_at)
    except ValueError:
        return None
    run_began_s = (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    process_began_s = started_s(info.pid)
    if process_began_s is None or process_began_s > run_began_s + _CLOCK_SLACK_S:
        return None
    return info.pid
