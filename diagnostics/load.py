"""From paths to a `Run`: what kind each is, what lies beside it, and both joined."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pandas as pd

from diagnostics import tables as declared
from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.detect import detect
from diagnostics.parsers.fact_records import RunRecord
from diagnostics.parsers.facts import Facts, parse_facts
from diagnostics.parsers.locate import facts_of_log, log_of_facts, newest_run
from diagnostics.parsers.text_log import TextLog, parse_text_log
from diagnostics.run import (
    FACTS,
    TEXT_LOG_ONLY,
    Input,
    InputKind,
    InputStatus,
    Run,
    RunInfo,
    RunTables,
)

_NO_READER = "this version draws nothing from it"
_LOG_TABLES = ("log_steps", "progress", "memory_lines")
"""Tables that only a text log fills; the others come from the facts where there are any."""
_EITHER = ("validations", "cache_stats", "spans")
_STEP_TABLES = ("steps", "phases", "stages")


def load_run(paths: Sequence[Path], profiles_dir: Path = Path("profiles")) -> Run:
    """Reads a run from a text log, a facts folder, a folder of runs, or several of them.

    A text log leads to the facts that its first line names, facts lead to their text log; what is
    missing is noted. Without paths it is the newest run of `profiles_dir`.

    Raises:
        DiagnosticsError: nothing could be read, or the paths are of different runs; one line.
    """
    loading = _Loading()
    for path in paths:
        loading.read(path)
    if not paths:
        loading.read_newest(profiles_dir)
    return loading.run()


@dataclass
class _Loading:
    """What has been read so far."""

    inputs: list[Input] = field(default_factory=list)
    facts: Facts | None = None
    log: TextLog | None = None
    errors: list[DiagnosticsError] = field(default_factory=list)

    def read(self, path: Path) -> None:
        kind: InputKind = "unknown"
        try:
            kind = detect(path)
            self._read_kind(path, kind)
        except DiagnosticsError as error:
            self.errors.append(error)
            self.inputs.append(Input(path=path, kind=kind, status="failed", notes=(str(error),)))

    def read_newest(self, profiles_dir: Path) -> None:
        newest = newest_run(profiles_dir)
        self._read_facts(newest.folder, newest.notes)

    def _read_kind(self, path: Path, kind: InputKind) -> None:
        if kind == "folder of runs":
            self.read_newest(path)
        elif kind == "facts folder":
            self._read_facts(path if path.is_dir() else path.parent)
        elif kind == "text log":
            self._read_log(path)
        elif kind == "trace":
            note = f"a profiler trace; {_NO_READER}"
            self.inputs.append(Input(path=path, kind=kind, status="not evaluated", notes=(note,)))
        else:
            raise DiagnosticsError(f"{path} is neither a text log, a facts folder nor a trace")

    def _read_log(self, path: Path) -> None:
        if self.log is not None and self.log.path.resolve() == path.resolve():
            return
        log = parse_text_log(path)
        self._check_same_run(log.run_fields.get("id"))
        if self.log is not None:
            raise DiagnosticsError(f"{path} is a second text log; give one log for each report")
        self.log = log
        notes = list(log.notes)
        if self.facts is None and log.run_fields:
            notes += self._follow_to_facts(log)
        self._note_read(path, "text log", notes, is_partial=bool(log.notes))

    def _follow_to_facts(self, log: TextLog) -> list[str]:
        try:
            self._read_facts(facts_of_log(log.path, log.run_fields))
        except DiagnosticsError as error:
            return [f"{error}; the text log alone is used"]
        return []

    def _read_facts(self, folder: Path, beside: Sequence[str] = ()) -> None:
        if self.facts is not None and self.facts.folder.resolve() == folder.resolve():
            return
        facts = parse_facts(folder)
        self._check_same_run(facts.meta.run_id if facts.meta else None)
        if self.facts is not None:
            raise DiagnosticsError(f"{folder} is a second run; give one run for each report")
        self.facts = facts
        notes = [*facts.notes, *beside]
        if self.log is None and facts.meta is not None:
            notes += self._follow_to_log(folder, facts.meta)
        self._note_read(folder, "facts folder", notes, is_partial=bool(facts.notes))

    def _follow_to_log(self, folder: Path, meta: RunRecord) -> list[str]:
        try:
            self._read_log(log_of_facts(folder, meta))
        except DiagnosticsError as error:
            return [f"{error}; the facts alone are used"]
        return []

    def _check_same_run(self, run_id: str | None) -> None:
        facts_id = self.facts.meta.run_id if self.facts and self.facts.meta else None
        log_id = self.log.run_fields.get("id") if self.log else None
        for other in (facts_id, log_id):
            if run_id and other and run_id != other:
                raise DiagnosticsError(
                    f"the inputs are of different runs ({other} and {run_id}); "
                    "give one run for each report"
                )

    def _note_read(
        self, path: Path, kind: InputKind, notes: list[str], *, is_partial: bool
    ) -> None:
        status: InputStatus = "partial" if is_partial else "read"
        shown = Path(os.path.normpath(path))  # a log names its facts, and they it, by way of ".."
        self.inputs.append(Input(path=shown, kind=kind, status=status, notes=tuple(notes)))

    def run(self) -> Run:
        if self.facts is None and self.log is None:
            if self.errors:
                raise self.errors[0]
            names = ", ".join(str(each.path) for each in self.inputs)
            raise DiagnosticsError(
                f"{names}: a profiler trace; {_NO_READER}. Give the text log or the facts folder"
            )
        return Run(
            inputs=tuple(self.inputs),
            info=_info(self.facts, self.log),
            evidence=FACTS if self.facts and len(self.facts.tables.steps) else TEXT_LOG_ONLY,
            tables=_join(self.facts, self.log),
        )


def _info(facts: Facts | None, log: TextLog | None) -> RunInfo:
    info = RunInfo()
    if log is not None:
        info = replace(
            info,
            run_id=log.run_fields.get("id"),
            clock=log.clock,
            status=log.status,
            total_steps=log.total_steps,
            gpus_absent_reason=log.gpus_absent_reason,
            log_family=log.family,
        )
    if facts is not None:
        info = replace(
            info,
            gpus_absent_reason=facts.gpus_absent_reason or info.gpus_absent_reason,
            facts_bytes=facts.num_bytes,
        )
        if facts.ranks:
            info = replace(info, world_size=len(facts.ranks))
        if facts.meta is not None:
            info = _with_meta(info, facts.meta)
    return info


def _with_meta(info: RunInfo, meta: RunRecord) -> RunInfo:
    """Every field that the two have in common; meta.json knows better than a log."""
    known = {each.name for each in fields(RunInfo)} & set(meta.__struct_fields__)
    return replace(info, **{name: getattr(meta, name) for name in known})


def _join(facts: Facts | None, log: TextLog | None) -> RunTables:
    if facts is None or log is None:
        only = facts or log
        assert only is not None
        return only.tables
    names = [*_LOG_TABLES]
    names += [name for name in _EITHER if not len(getattr(facts.tables, name))]
    if not len(facts.tables.steps):
        names += _STEP_TABLES
    joined = {name: getattr(log.tables, name) for name in names}
    return replace(facts.tables, **joined, events=_join_events(facts, log))


def _join_events(facts: Facts, log: TextLog) -> pd.DataFrame:
    """The facts' events, and those of the log that the facts have no event of that name for."""
    ours, theirs = facts.tables.events, log.tables.events
    is_new = ~theirs["name"].isin(ours["name"].unique())
    return declared.EVENTS.concat([ours, theirs[is_new]])
