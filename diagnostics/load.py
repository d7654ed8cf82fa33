"""From paths to a `Run`: what kind each is, what lies beside it, and both joined."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd

from diagnostics import tables as declared
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.detect import detect, iter_traces
from diagnostics.parsers.fact_records import RunRecord
from diagnostics.parsers.facts import Facts, parse_facts
from diagnostics.parsers.locate import facts_of_log, log_of_facts, newest_run
from diagnostics.parsers.log_join import join_logs, timing_log_of
from diagnostics.parsers.text_log import TextLog, parse_text_log
from diagnostics.parsers.trace_reader import TraceReader
from diagnostics.run import (
    FACTS,
    TEXT_LOG_ONLY,
    TRACE_ONLY,
    Evidence,
    Input,
    InputKind,
    InputStatus,
    Run,
    RunInfo,
    RunTables,
)
from diagnostics.trace import Trace

TRACE_PATTERNS = ("*.pt.trace.json", "*.pt.trace.json.gz")
MAX_TRACES_BYTES = 64 << 20
"""Traces of a run up to this size together are read with it, in the order of their names; others
must be asked for: a report of the facts is to take seconds."""

MAX_TRACES = 64
"""Of one folder; each keeps some ten files open while it is on disk."""

_LOG_TABLES = ("log_steps", "progress", "memory_lines")
"""Tables that only a text log fills; the others come from the facts where there are any."""
_EITHER = ("validations", "cache_stats", "spans", "allocation_failures")
_STEP_TABLES = ("steps", "phases", "stages")


def load_run(paths: Sequence[Path], profiles_dir: Path = Path("profiles")) -> Run:
    """Reads a run from a text log, a facts folder, a folder of runs, or several of them.

    A text log leads to the facts that its first line names, facts lead to their text log; what is
    missing is noted. Without paths it is the newest run of `profiles_dir`.

    Raises:
        DiagnosticsError: nothing could be read, or the paths are of different runs; one line.
    """
    with TraceReader(paths) as traces:
        loading = _Loading(traces)
        for path in paths:
            loading.read(path)
        if not paths:
            loading.read_newest(profiles_dir)
        return loading.run()


@dataclass
class _Loading:
    """What has been read so far."""

    reader: TraceReader
    inputs: list[Input] = field(default_factory=list)
    facts: Facts | None = None
    log: TextLog | None = None
    traces: list[Trace] = field(default_factory=list)
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
            self._read_trace(path)
        elif kind == "folder of traces":
            self._read_traces(path)
        elif kind == "memory snapshot":
            raise DiagnosticsError(
                say("{path} is a memory snapshot: `python diagnose_memory.py` reads it", path=path)
            )
        else:
            raise DiagnosticsError(
                say("{path} is neither a text log, a facts folder nor a trace", path=path)
            )

    def _read_log(self, path: Path) -> None:
        if self.log is not None and self.log.path.resolve() == path.resolve():
            return
        log = parse_text_log(path)
        self._check_same_run(log.run_fields.get("id"))
        joined = log if self.log is None else join_logs(self.log, log)
        if joined is None:
            raise DiagnosticsError(
                say("{path} is a second text log; give one log for each report", path=path)
            )
        self.log = joined
        notes = [*log.notes, *log.remarks]
        if self.facts is None and log.run_fields:
            notes += self._follow_to_facts(log)
        self._note_read(path, "text log", notes, is_partial=bool(log.notes))
        timing = timing_log_of(log)
        if timing is not None and joined is log:
            self._follow_to_timing_log(timing)

    def _follow_to_timing_log(self, path: Path) -> None:
        """Nobody asked for it: the log stands without."""
        try:
            self._read_log(path)
        except DiagnosticsError as error:
            note = say("{error}; it is left out", error=error)
            self.inputs.append(
                Input(path=path, kind="text log", status="not evaluated", notes=(note,))
            )

    def _follow_to_facts(self, log: TextLog) -> list[str]:
        try:
            self._read_facts(facts_of_log(log.path, log.run_fields))
        except DiagnosticsError as error:
            return [say("{error}; the text log alone is used", error=error)]
        return []

    def _read_facts(self, folder: Path, beside: Sequence[str] = ()) -> None:
        if self.facts is not None and self.facts.folder.resolve() == folder.resolve():
            return
        facts = parse_facts(folder)
        self._check_same_run(facts.meta.run_id if facts.meta else None)
        if self.facts is not None:
            raise DiagnosticsError(
                say("{folder} is a second run; give one run for each report", folder=folder)
            )
        self.facts = facts
        notes = [*facts.notes, *beside]
        if self.log is None and facts.meta is not None:
            notes += self._follow_to_log(folder, facts.meta)
        self._note_read(folder, "facts folder", notes, is_partial=bool(facts.notes))
        self._follow_to_traces(folder)

    def _read_trace(self, path: Path) -> None:
        if any(trace.path.resolve() == path.resolve() for trace in self.traces):
            return
        trace = self.reader.read(path)
        self.traces.append(trace)
        self._note_read(path, "trace", list(trace.notes), is_partial=bool(trace.notes))

    def _read_traces(self, folder: Path) -> None:
        """A trace for each rank, or for each window of steps."""
        found = list(iter_traces(folder))
        for path in found[:MAX_TRACES]:
            self.read(path)
        for path in found[MAX_TRACES:]:
            note = say("only {count} traces of a folder are read", count=MAX_TRACES)
            self.inputs.append(
                Input(path=path, kind="trace", status="not evaluated", notes=(note,))
            )

    def _follow_to_traces(self, folder: Path) -> None:
        """The traces of the run, which lie beside its facts."""
        found = sorted(path for pattern in TRACE_PATTERNS for path in folder.glob(pattern))
        fitting, left = _up_to(MAX_TRACES_BYTES, found)
        if left:
            size = sum(path.stat().st_size for path in left)
            note = say("{size} MiB of traces: give them by name to have them read", size=size >> 20)
            self.inputs.append(
                Input(path=left[0], kind="trace", status="not evaluated", notes=(note,))
            )
        for path in fitting:
            try:
                self._read_trace(path)
            except DiagnosticsError as error:  # nobody asked for it: the facts stand without
                note = say("{error}; it is left out", error=error)
                self.inputs.append(
                    Input(path=path, kind="trace", status="not evaluated", notes=(note,))
                )

    def _follow_to_log(self, folder: Path, meta: RunRecord) -> list[str]:
        try:
            self._read_log(log_of_facts(folder, meta))
        except DiagnosticsError as error:
            return [say("{error}; the facts alone are used", error=error)]
        return []

    def _check_same_run(self, run_id: str | None) -> None:
        facts_id = self.facts.meta.run_id if self.facts and self.facts.meta else None
        log_id = self.log.run_fields.get("id") if self.log else None
        for other in (facts_id, log_id):
            if run_id and other and run_id != other:
                raise DiagnosticsError(
                    say(
                        "the inputs are of different runs ({other} and {run_id}); give one "
                        "run for each report",
                        other=other,
                        run_id=run_id,
                    )
                )

    def _note_read(
        self, path: Path, kind: InputKind, notes: list[str], *, is_partial: bool
    ) -> None:
        status: InputStatus = "partial" if is_partial else "read"
        shown = Path(os.path.normpath(path))  # a log names its facts, and they it, by way of ".."
        self.inputs.append(Input(path=shown, kind=kind, status=status, notes=tuple(notes)))

    def run(self) -> Run:
        if self.facts is None and self.log is None and not self.traces:
            raise self.errors[0]
        return Run(
            inputs=tuple(self.inputs),
            info=_info(self.facts, self.log, self.traces),
            evidence=self._evidence(),
            tables=_join(self.facts, self.log),
            traces=tuple(self.traces),
        )

    def _evidence(self) -> Evidence:
        if self.facts is not None and len(self.facts.tables.steps):
            return FACTS
        if self.traces and (self.log is None or not len(self.log.tables.steps)):
            return TRACE_ONLY
        return TEXT_LOG_ONLY


def _up_to(max_bytes: int, paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The first paths that have no more bytes together, and the others."""
    ends = accumulate(path.stat().st_size for path in paths)
    count = sum(end <= max_bytes for end in ends)
    return list(paths[:count]), list(paths[count:])


def _info(facts: Facts | None, log: TextLog | None, traces: Sequence[Trace]) -> RunInfo:
    info = _of_traces(traces) if traces else RunInfo()
    if log is not None:
        info = replace(
            info,
            run_id=log.run_fields.get("id"),
            trainer="own" if log.run_fields.get("trainer") == "own" else None,
            clock=log.clock,
            status=log.status,
            total_steps=log.total_steps,
            gpus_absent_reason=log.gpus_absent_reason,
            log_family=log.family,
            config=log.config,
            device=log.device or info.device,
            world_size=log.world_size or info.world_size,
            samples_per_step=log.samples_per_step,
            is_unsynchronised=log.is_unsynchronised,
            leaves_fetch_out=log.leaves_fetch_out,
            recognition=log.recognition,
        )
    if facts is not None:
        info = replace(
            info,
            recognition=None,
            gpus_absent_reason=facts.gpus_absent_reason or info.gpus_absent_reason,
            facts_bytes=facts.num_bytes,
            traces=facts.traces,
        )
        if facts.ranks:
            info = replace(info, world_size=len(facts.ranks))
        if facts.meta is not None:
            info = _with_meta(info, facts.meta)
    return info


def _of_traces(traces: Sequence[Trace]) -> RunInfo:
    """What the traces say of the run; facts and log know better."""
    used = [trace for trace in traces if trace.has_device]
    devices = next((trace.devices for trace in used if trace.devices), ())
    device: dict[str, str | int | None] = {"type": "cuda" if used else "cpu"}
    if used and devices:
        device |= _device(devices[0])
    world = [trace.world_size for trace in traces if trace.world_size]
    return RunInfo(
        clock="device" if used else "host",
        device=device,
        world_size=max(world, default=None),
    )


def _device(properties: Mapping[str, Any]) -> dict[str, str | int | None]:
    name, memory = properties.get("name"), properties.get("totalGlobalMem")
    major, minor = properties.get("computeMajor"), properties.get("computeMinor")
    return {
        "name": name if isinstance(name, str) else None,
        "memory_total_bytes": memory if isinstance(memory, int) else None,
        "compute_capability": f"{major}.{minor}" if isinstance(major, int) else None,
    }


def _with_meta(info: RunInfo, meta: RunRecord) -> RunInfo:
    """Every field that the two have in common; meta.json knows better than a log."""
    known = {each.name for each in fields(RunInfo)} & set(meta.__struct_fields__)
    return replace(info, **{name: getattr(meta, name) for name in known})


def _join(facts: Facts | None, log: TextLog | None) -> RunTables:
    if facts is None or log is None:
        only = facts or log
        return RunTables() if only is None else only.tables
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
