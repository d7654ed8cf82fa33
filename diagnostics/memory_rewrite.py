"""Writes the configuration that a forecast asks for: the part that makes a file of it."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diagnostics.analyses.memory_demand import SettingChange
from diagnostics.analyses.settled_changes import Settled, settle, spelled
from diagnostics.command_line import STDOUT, write_whole
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.report.memory_model import LeftOut, MemoryReport, Rewrite
from diagnostics.rules.finding import Finding, Severity
from diagnostics.ways_out import is_a_way_out

THERE_ALREADY = "{path}: is there already; give another name, or --overwrite"

Forecast = Callable[[Sequence[str]], MemoryReport]
"""The report with `KEY.PATH=VALUE` changes."""


@dataclass(frozen=True)
class Target:
    """A file to write, and whether an older one may go for it."""

    path: Path
    may_replace: bool = False


@dataclass(frozen=True)
class _Judged:
    """A report as `settle` asks about it."""

    report: MemoryReport

    def needed(self) -> Iterator[SettingChange]:
        """What the forecast's resources need."""
        if self.report.forecast is not None:
            for resource in self.report.forecast.forecast.resources:
                yield from resource.changes

    def advised(self) -> Iterator[SettingChange]:
        """What warnings about the configuration ask for."""
        for finding in self.report.findings:
            if finding.severity < Severity.WARN or not finding.rule.startswith("CF"):
                continue
            for change in (advice.config_change for advice in finding.advice):
                if change is not None and not isinstance(change.proposed, tuple | None):
                    current = None if isinstance(change.current, tuple) else change.current
                    yield SettingChange(key=change.key, current=current, proposed=change.proposed)


def rewrite(
    report: MemoryReport, target: Target, ask: Forecast, text_with: Callable[[Sequence[str]], str]
) -> MemoryReport:
    """The report, with what was written: the configuration with all changes made.

    Nothing is written where it would not fit even then.

    Args:
        report: of the configuration as it is.
        target: where the new configuration goes; `-` prints it.
        ask: forecasts again.
        text_with: the file's text with changes.

    Raises:
        DiagnosticsError: the text cannot be changed, or the file cannot be written.
    """
    found: Settled[_Judged] = settle(
        _Judged(report), lambda changes: _Judged(ask(tuple(spelled(changes))))
    )
    view = found.judged.report.forecast
    verdict = "unknown" if view is None else view.forecast.verdict
    written = verdict in ("fits", "tight")
    if written:
        text = text_with(tuple(spelled(found.changes)))
        if str(target.path) == STDOUT:
            sys.stdout.write(text)
        else:
            write_new(target, text)
    made = Rewrite(
        path=target.path,
        verdict=verdict,
        changes=found.changes,
        is_written=written,
        left_out=tuple(_left_out(found.judged.report, found.changes)),
    )
    return replace(report, rewrite=made)


def _left_out(report: MemoryReport, made: Sequence[SettingChange]) -> Iterator[LeftOut]:
    """What findings about the configuration still propose, with the reason why it is not made."""
    lowered = {change.key for change in made}
    for finding in report.findings:
        if not finding.rule.startswith("CF"):
            continue
        for change in (advice.config_change for advice in finding.advice):
            if change is not None:
                yield LeftOut(
                    rule=finding.rule,
                    key=change.key,
                    current=change.current,
                    proposed=change.proposed,
                    reason=_why(finding, change.key in lowered),
                )


def _why(finding: Finding, is_lowered: bool) -> str:
    if is_lowered:
        return "the forecast needs another value, or the run would not fit"
    if finding.severity < Severity.WARN:
        return "a note: the run fits without it, and what it would gain is not known here"
    return "the changes before it did not come to rest"


def check_target(target: Target) -> None:
    """What can be known before the forecast, which takes a while, has been made.

    Raises:
        DiagnosticsError: it is there already, or there is no folder for it; one line.
    """
    path = target.path
    if str(path) == STDOUT:
        return
    _check_regular(path)
    if path.is_file() and not target.may_replace:
        raise DiagnosticsError(say(THERE_ALREADY, path=path))
    if not path.parent.is_dir():
        raise DiagnosticsError(
            say("{path}: cannot be written: {reason}", path=path, reason="there is no such folder")
        )


def _check_regular(path: Path) -> None:
    if is_a_way_out(path) or path.is_dir():
        raise DiagnosticsError(
            say("{path}: cannot be written: {reason}", path=path, reason="it is no regular file")
        )


def write_new(target: Target, text: str) -> None:
    """Write a file whole or not at all; an older one of that name only if it may be replaced.

    Raises:
        DiagnosticsError: it is there already, or cannot be written; one line.
    """
    _check_regular(target.path)
    write_whole(target.path, text, Path.replace if target.may_replace else _place)


def _place(temporary: Path, path: Path) -> None:
    """Give the file its name, unless another file has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise DiagnosticsError(say(THERE_ALREADY, path=path)) from None
    except OSError:  # a file system without links
        with path.open("xb") as file:
            file.write(temporary.read_bytes())
