"""Finds runs: the newest below a folder, the facts of a log, the log of facts.

A path that stands in a file is followed only when it is relative and leads to a plain folder or
file of the very run that names it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.fact_records import RunRecord
from diagnostics.parsers.facts import META, is_facts_folder, read_meta
from diagnostics.parsers.text_log import read_run_line


@dataclass(frozen=True, kw_only=True)
class RunsBelow:
    """The facts folders in a folder, by name; `unread` says of each other folder why not."""

    folders: tuple[Path, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NewestRun:
    """A facts folder, and what may make it not the newest."""

    folder: Path
    notes: tuple[str, ...]


def runs_below(folder: Path) -> RunsBelow:
    """The facts folders in a folder; one that cannot be read hides no other.

    Raises:
        DiagnosticsError: the folder itself cannot be read.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise DiagnosticsError(
            say(
                "cannot read {folder}: {strerror}; give the path of a run or a text log",
                folder=folder,
                strerror=error.strerror,
            )
        ) from None
    found, unread = [], []
    for each in inside:
        try:
            if each.is_dir() and is_facts_folder(each):
                found.append(each)
        except DiagnosticsError as error:
            unread.append(str(error))
        except OSError as error:  # not even what it is
            unread.append(say("cannot read {each}: {strerror}", each=each, strerror=error.strerror))
    return RunsBelow(folders=tuple(found), unread=tuple(unread))


def newest_run(profiles_dir: Path) -> NewestRun:
    """The facts folder with the largest `started_at` in its meta.json; by name where equal.

    A run without a start counts only where none has one.

    Raises:
        DiagnosticsError: the folder cannot be read, or holds no run that can be.
    """
    runs = runs_below(profiles_dir)
    if not runs.folders:
        raise DiagnosticsError(
            say(
                "{profiles_dir} holds no run that can be read: {first_of}",
                profiles_dir=profiles_dir,
                first_of=_first_of(runs.unread),
            )
            if runs.unread
            else say(
                "{profiles_dir} holds no run: train first, or give the path of a run or a text log",
                profiles_dir=profiles_dir,
            )
        )
    starts: dict[Path, datetime] = {}
    undated: dict[Path, str] = {}
    for each in runs.folders:
        try:
            starts[each] = _started_at(each)
        except DiagnosticsError as error:
            undated[each] = str(error)
    newest = max(starts or undated, key=lambda each: (starts.get(each), each.name))
    undated.pop(newest, None)
    notes = {"skipped": runs.unread, "not known to be older": tuple(undated.values())}
    return NewestRun(
        folder=newest,
        notes=tuple(
            say("beside this run, {what}: {first_of}", what=what, first_of=_first_of(of))
            for what, of in notes.items()
            if of
        ),
    )


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
        raise DiagnosticsError(say("the facts folder {named} is missing", named=named))
    run_id, found = run_fields.get("id"), read_meta(folder).run_id
    if found != run_id:
        raise DiagnosticsError(
            say(
                "the facts folder {named} belongs to run {found}, not to {run_id}",
                named=named,
                found=found,
                run_id=run_id,
            )
        )
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
        raise DiagnosticsError(say("the text log {log} is missing", log=meta.log))
    run_id = (read_run_line(log) or {}).get("id")
    if run_id != meta.run_id:
        raise DiagnosticsError(
            say("the text log {log} belongs to another run ({run_id})", log=meta.log, run_id=run_id)
        )
    return log


def _relative(named: str) -> Path:
    is_absolute = PurePosixPath(named).is_absolute() or PureWindowsPath(named).drive
    if is_absolute or "\0" in named or len(named) > 4096:
        raise DiagnosticsError(
            say("the path {named!r} is not a relative one and is not followed", named=named[:200])
        )
    return Path(named)


def _holds(check: Callable[[], bool]) -> bool:
    """False, too, where the system refuses the path: too long a name, a folder without rights."""
    try:
        return check()
    except OSError:
        return False


def _first_of(reasons: Sequence[str]) -> str:
    more = len(reasons) - 1
    return say("{reasons} (and {more} more)", reasons=reasons[0], more=more) if more else reasons[0]


def _started_at(folder: Path) -> datetime:
    """The start of the run; without a time zone it is UTC."""
    text = read_meta(folder).started_at
    try:
        started = datetime.fromisoformat(text)
    except ValueError:
        raise DiagnosticsError(
            say("{folder} is damaged: it gives no time in started_at", folder=folder / META)
        ) from None
    return started if started.tzinfo else started.replace(tzinfo=UTC)
