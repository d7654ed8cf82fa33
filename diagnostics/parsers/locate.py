"""Finds runs: the newest below a folder, the facts of a log, the log of facts.

A path that stands in a file is followed only when it is relative and leads to a plain folder or
file of the very run that names it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.fact_records import RunRecord
from diagnostics.parsers.facts import is_facts_folder, read_meta
from diagnostics.parsers.text_log import read_run_line


def newest_run(profiles_dir: Path) -> Path:
    """The facts folder with the largest `started_at` in its meta.json; by name where equal.

    Raises:
        DiagnosticsError: the folder cannot be read or holds no run.
    """
    try:
        folders = sorted(each for each in profiles_dir.iterdir() if each.is_dir())
    except OSError as error:
        raise DiagnosticsError(
            f"cannot read {profiles_dir}: {error.strerror}; give the path of a run or a text log"
        ) from None
    dated = [(_started_at(each), each.name, each) for each in folders if is_facts_folder(each)]
    if not dated:
        raise DiagnosticsError(
            f"{profiles_dir} holds no run: train first, or give the path of a run or a text log"
        )
    return max(dated)[2]


def facts_of_log(log: Path, run_fields: Mapping[str, str]) -> Path:
    """The facts folder that the `[run]` line of the log names.

    Raises:
        DiagnosticsError: it names none, or what it names cannot be used; says why.
    """
    named = run_fields.get("facts", "")
    if not named:
        raise DiagnosticsError("its first line names no facts folder")
    folder = log.parent / _relative(named)
    if not _holds(folder.is_dir) or not is_facts_folder(folder):
        raise DiagnosticsError(f"the facts folder {named} is missing")
    run_id, found = run_fields.get("id"), read_meta(folder).run_id
    if found != run_id:
        raise DiagnosticsError(f"the facts folder {named} belongs to run {found}, not to {run_id}")
    return folder


def log_of_facts(folder: Path, meta: RunRecord) -> Path:
    """The text log that meta.json names.

    Raises:
        DiagnosticsError: it names none, or what it names cannot be used; says why.
    """
    if not meta.log:
        raise DiagnosticsError("meta.json names no text log")
    log = folder / _relative(meta.log)
    if not _holds(log.is_file):
        raise DiagnosticsError(f"the text log {meta.log} is missing")
    run_id = (read_run_line(log) or {}).get("id")
    if run_id != meta.run_id:
        raise DiagnosticsError(f"the text log {meta.log} belongs to another run ({run_id})")
    return log


def _relative(named: str) -> Path:
    is_absolute = PurePosixPath(named).is_absolute() or PureWindowsPath(named).drive
    if is_absolute or "\0" in named or len(named) > 4096:
        raise DiagnosticsError(
            f"the path {named[:200]!r} is not a relative one and is not followed"
        )
    return Path(named)


def _holds(check: Callable[[], bool]) -> bool:
    """False, too, where the system refuses the path: too long a name, a folder without rights."""
    try:
        return check()
    except OSError:
        return False


def _started_at(folder: Path) -> datetime:
    """The start of the run; the earliest of times where meta.json does not tell."""
    try:
        started = datetime.fromisoformat(read_meta(folder).started_at)
    except (DiagnosticsError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
    return started if started.tzinfo else started.replace(tzinfo=UTC)
