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
    started_s: Callable[[int], float | None] = process_start_s,
) -> frozenset[int]:
    """Process ids of rank 0 of each run below the folder that runs on this machine.

    A run that was killed says "running", too: its process is gone, or its number belongs to a
    process that began after the run did.

    Args:
        profiles_dir: The folder of runs; one that cannot be read holds none.
        host: This machine's name.
        started_s: When a process began.
    """
    own = host or socket.gethostname()
    names = {own, f"host-{hashlib.sha256(own.encode()).hexdigest()[:8]}"}  # as runs redact it
    try:
        folders = runs_below(profiles_dir).folders[-_MOST_RUNS:]
    except DiagnosticsError:
        return frozenset()
    found = (_pid_of(folder, names, started_s) for folder in folders)
    return frozenset(pid for pid in found if pid is not None)


def _pid_of(folder: Path, hosts: set[str], started_s: Callable[[int], float | None]) -> int | None:
    try:
        meta = read_meta(folder)
        said = datetime.fromisoformat(meta.started_at)
    except (DiagnosticsError, ValueError):
        return None
    if meta.status != "running" or meta.host not in hosts or not meta.pid:
        return None
    run_began_s = (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    process_began_s = started_s(meta.pid)
    if process_began_s is None or process_began_s > run_began_s + _CLOCK_SLACK_S:
        return None
    return meta.pid
