"""A run's name, its folders, and what `meta.json` says about it."""

import json
import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.redaction import host_label, redact_run
from vrtspike.profiling.settings import LogConfig

RUN_ID = re.compile(r"train_\d{8}_\d{6}_[0-9a-f]{4}")
META = "meta.json"


@dataclass(frozen=True)
class RunPaths:
    """Where a run writes."""

    facts_dir: Path
    log: Path
    checkpoint_dir: Path


def new_run_id(now: datetime, entropy: bytes | None = None) -> str:
    """`train_<YYYYmmdd_HHMMSS>_<4 hex digits>`.

    Args:
        now: The start of the run, in the time zone that the name should show.
        entropy: Two bytes that tell runs of one second apart; random by default.
    """
    tail = (os.urandom(2) if entropy is None else entropy)[:2].hex()
    return f"train_{now:%Y%m%d_%H%M%S}_{tail:0>4}"


def run_paths(run_id: str, log: LogConfig, base: Path) -> RunPaths:
    """The folders of a run; `base` is what relative folders start from."""
    outputs = base / log.save_dir
    stem = run_id.rsplit("_", 1)[0]
    return RunPaths(
        facts_dir=base / log.profiles_dir / run_id,
        log=outputs / "logs" / f"{stem}.log",
        checkpoint_dir=outputs / "checkpoints" / run_id,
    )


def open_run(
    run_id: str,
    log: LogConfig,
    *,
    now: datetime,
    base: Path,
    config: Mapping[str, Any],
    argv: Sequence[str] = (),
    host: str | None = None,
    **facts: Any,
) -> tuple[RunRecord, RunPaths]:
    """The record of a run that begins, and where it writes; creates nothing.

    Args:
        run_id: From `new_run_id`; the same on every rank.
        log: Folders, and whether names are to be redacted.
        now: The start of the run; time zone aware.
        base: What relative folders start from.
        config: The configuration with the YAML's own keys.
        argv: The command line.
        host: This machine's name; asked from the system by default.
        **facts: Further fields of `RunRecord`, such as `world_size`, `device`, `first_step`.
    """
    paths = run_paths(run_id, log, base)
    run = RunRecord(
        run_id=run_id,
        started_at=utc_text(now),
        status="running",
        host=socket.gethostname() if host is None else host,
        pid=os.getpid(),
        argv=tuple(argv),
        log=relative_text(paths.log, paths.facts_dir),
        checkpoint_dir=relative_text(paths.checkpoint_dir, paths.facts_dir),
        config=dict(config),
        **facts,
    )
    return (redact_run(run) if log.redact else run), paths


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC, so that texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def relative_text(path: Path, start: Path) -> str:
    """A path as seen from a folder, with forward slashes."""
    return Path(os.path.relpath(path, start)).as_posix()


def prune_runs(profiles_dir: Path, keep: int, current: str) -> list[Path]:
    """Deletes the oldest folders of facts until `keep` are left.

    Never deletes the current run, one that may still be running, or a folder that is not plainly a
    run's. Checkpoints and logs are not touched.

    Returns:
        The folders that were deleted.
    """
    runs = sorted(_finished_runs(profiles_dir, current), key=lambda pair: pair[0], reverse=True)
    deleted = []
    for _, folder in runs[max(0, keep - 1) :]:
        shutil.rmtree(folder, ignore_errors=True)
        deleted.append(folder)
    return deleted


def _finished_runs(profiles_dir: Path, current: str) -> list[tuple[str, Path]]:
    if not profiles_dir.is_dir():
        return []
    runs = []
    for folder in profiles_dir.iterdir():
        plain = folder.is_dir() and not folder.is_symlink()
        if not plain or folder.name == current or not RUN_ID.fullmatch(folder.name):
            continue
        meta = _read_meta(folder / META)
        started = meta.get("started_at")
        if isinstance(started, str) and not _may_run(meta):
            runs.append((started, folder))
    return runs


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _may_run(meta: Mapping[str, Any]) -> bool:
    if meta.get("status") != "running":
        return False
    here = socket.gethostname()
    if meta.get("host") not in (here, host_label(here)):
        return True
    pid = meta.get("pid")
    return not isinstance(pid, int) or psutil.pid_exists(pid)
