"""The text log of a run: ours, the original VRT-Spike trainer's, and other trainers'.

One pass in bounded memory. Colours, CRLF, damaged UTF-8, prefixes of launchers and lines of other
programs in between do no harm: a line is recognised by a marker anywhere in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers import log_lines
from diagnostics.parsers.line_scanner import Integers
from diagnostics.parsers.log_formats.fields import LOG_LINE, MEMORY, PROGRESS
from diagnostics.parsers.log_formats.original_times import FAMILY as ORIGINAL
from diagnostics.parsers.log_formats.vrt_spike import FAMILY as VRT_SPIKE
from diagnostics.parsers.log_scan import MAX_LINE_BYTES, LogScan, scan_log, without_escapes
from diagnostics.parsers.log_stages import LogStages, stages_of
from diagnostics.parsers.log_start import start_of
from diagnostics.parsers.log_statements import LogStatements
from diagnostics.parsers.log_tables import table_rows, wide_rows, with_whole_steps
from diagnostics.parsers.log_windows import (
    build_windows,
    last_of,
    progress_phases,
    step_line_phases,
    steps_of,
    tags_after,
    with_windows,
)
from diagnostics.run import Clock, LogFamily, RunStatus, RunTables

__all__ = ["MAX_LINE_BYTES", "TextLog", "parse_text_log", "read_run_line"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TextLog:
    """What a text log states. `run_fields` are those of its `[run]` line, empty without one.

    `config` and `device` are what its start-up lines say of the settings and the GPU.
    `samples_per_step` is of all ranks. `is_unsynchronised`: its stage times are known to be
    differences of the host's clock around work that a GPU does later. `leaves_fetch_out`: its
    data_time is known to begin after the batch was fetched.
    """

    path: Path
    run_fields: dict[str, str]
    family: LogFamily | None
    clock: Clock | None
    status: RunStatus | None
    total_steps: int | None
    gpus_absent_reason: str | None
    tables: RunTables
    num_lines: int
    num_recognised: int
    notes: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    device: Mapping[str, str | int | None] = field(default_factory=dict)
    world_size: int | None = None
    samples_per_step: int | None = None
    timing_log: str | None = None
    is_unsynchronised: bool = False
    leaves_fetch_out: bool = False


def read_run_line(path: Path) -> dict[str, str] | None:
    """The fields of the `[run]` line at the start of the log; None if it has none.

    Raises:
        DiagnosticsError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(MAX_LINE_BYTES)
    except OSError as error:
        raise DiagnosticsError(
            say("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        ) from None
    for line in without_escapes(head).splitlines()[:50]:
        if b"[run] id=" in line:
            return log_lines.parse_run(line.decode("utf-8", "replace"))
    return None


def parse_text_log(path: Path) -> TextLog:
    """Reads a text log.

    Raises:
        DiagnosticsError: it cannot be read, is empty, or no line of it has a known format.
    """
    scan = scan_log(path)
    _check_something_was_read(path, scan)
    return _Built(path, scan).log()


def _check_something_was_read(path: Path, scan: LogScan) -> None:
    if scan.num_lines == 0 and not scan.is_last_cut:
        raise DiagnosticsError(say("{path} is empty: there is no line to read", path=path))
    if scan.num_lines == 0:
        raise DiagnosticsError(
            say("{path}: its only line has no end, so there is no whole line to read", path=path)
        )
    if scan.found.num_recognised == 0:
        raise DiagnosticsError(
            say(
                "{path}: none of its {num_lines} lines has a known format; give the text log "
                "of a run (train_<date>_<time>.log) or its folder under profiles/",
                path=path,
                num_lines=scan.num_lines,
            )
        )


class _Built:
    """The tables of one scanned log."""

    def __init__(self, path: Path, scan: LogScan) -> None:
        self.path = path
        self.scan = scan
        lines = with_whole_steps(wide_rows(scan.found, LOG_LINE))
        self.lines = lines[lines["rank"] == lines["rank"].min()]
        self.stages = stages_of(scan.found)
        self.said = LogStatements(
            source=path.name,
            step_places=self.lines["place"].to_numpy("int64"),
            steps=self.lines["step"].to_numpy("int64"),
        )
        self.said.add_all(scan.found.statements)

    def log(self) -> TextLog:
        """The whole of it."""
        log_steps = last_of(self._log_steps(), ["step"])
        repeated = len(self.lines) - len(log_steps)
        family = self._family(log_steps)
        start = start_of(self.said.settings, self.said.gpus)
        total = log_steps["total_steps"].max()
        return TextLog(
            path=self.path,
            run_fields=self.said.run_fields,
            family=family,
            clock=self._stated_clock(),
            status=self.said.status,
            total_steps=start.total_steps if pd.isna(total) else int(total),
            gpus_absent_reason=self.said.gpus_absent_reason,
            tables=self._tables(log_steps),
            num_lines=self.scan.num_lines,
            num_recognised=self.scan.found.num_recognised,
            notes=(*self.scan.notes, *self.said.notes(), *_repetition_notes(repeated)),
            config=start.config,
            device=start.device,
            world_size=start.world_size,
            samples_per_step=start.samples_per_step,
            timing_log=start.timing_log,
            is_unsynchronised=self.stages.are_single_steps,
            leaves_fetch_out=family == ORIGINAL and bool(log_steps["data_time_ms"].notna().any()),
        )

    def _family(self, log_steps: pd.DataFrame) -> LogFamily | None:
        if self.said.run_fields or bool(log_steps["step_time_ms"].notna().any()):
            return VRT_SPIKE
        is_original = len(log_steps) or self.stages.are_single_steps
        return ORIGINAL if is_original else None

    def _stated_clock(self) -> Clock | None:
        stated = self.said.run_fields.get("clock")
        if stated == "device":
            return "device"
        return "host" if stated == "host" else self.stages.clock

    def _log_steps(self) -> pd.DataFrame:
        return table_rows(self.lines, declared.LOG_STEPS)

    def _ends(self) -> Integers:
        """The steps of all step lines, also of those that were thinned out."""
        left_out = self.scan.found.steps_left_out.get(LOG_LINE, [])
        return np.concatenate([self.lines["step"].to_numpy("int64"), *left_out])

    def _tables(self, log_steps: pd.DataFrame) -> RunTables:
        spans = self.said.spans.frame()
        tagged = tags_after(spans) | self.said.tags
        clock = self._stated_clock() or "host"
        step_windows = build_windows(self._ends(), tagged)
        stage_windows = _stage_windows(self.stages, tagged)
        progress = self._progress()
        line_phases = step_line_phases(log_steps, self._stated_clock())
        whole_steps = with_windows(line_phases, step_windows)
        if not len(whole_steps) and not self.said.run_fields:
            whole_steps = progress_phases(progress, tagged)
        phases = with_windows(self.stages.phases, stage_windows)
        steps = steps_of(log_steps, step_windows, clock)
        if not len(steps):
            steps = _steps_of_stages(self.stages, stage_windows, clock)
        if self.stages.are_single_steps:  # what is timed is one forward, whatever a step has
            steps = steps.assign(micro_batches=1.0)
        return RunTables(
            phases=declared.PHASES.concat([whole_steps, phases]),
            stages=declared.STAGES.validate(with_windows(self.stages.stages, stage_windows)),
            steps=steps,
            spans=spans,
            events=self.said.events.frame(),
            log_steps=log_steps,
            progress=progress,
            memory_lines=self._memory_lines(),
            validations=last_of(self.said.validations.frame(), ["step"]),
            cache_stats=self.said.cache_stats.frame(),
        )

    def _progress(self) -> pd.DataFrame:
        rows = with_whole_steps(wide_rows(self.scan.found, PROGRESS))
        rows = rows.assign(
            elapsed_s=_clock_seconds(rows, "elapsed"), eta_s=_clock_seconds(rows, "eta")
        )
        ended = [(steps, None, elapsed_s, None) for steps, elapsed_s in self.said.ended]
        parts = [table_rows(rows, declared.PROGRESS), declared.PROGRESS.from_rows(ended)]
        together = declared.PROGRESS.concat(parts)
        return together.sort_values("step", kind="stable", ignore_index=True)

    def _memory_lines(self) -> pd.DataFrame:
        rows = wide_rows(self.scan.found, MEMORY)
        if not len(rows):
            return declared.MEMORY_LINES.empty()
        steps = rows["step"] if "step" in rows else pd.Series(np.nan, index=rows.index)
        labels = rows["label"] if "label" in rows else pd.Series(None, index=rows.index)
        said = [
            label if isinstance(label, str) else say("Step {step:.0f}", step=step)
            for label, step in zip(labels, steps, strict=True)
        ]
        return table_rows(rows.assign(label=said), declared.MEMORY_LINES)


def _clock_seconds(rows: pd.DataFrame, name: str) -> "pd.Series[Any]":
    """Hours, minutes and seconds together."""
    parts = [f"{name}_{unit}" for unit in "hms"]
    if any(part not in rows for part in parts):
        return pd.Series(np.nan, index=rows.index)
    hours, minutes, seconds = (rows[part] for part in parts)
    return hours * 3600 + minutes * 60 + seconds


def _stage_windows(stages: LogStages, tagged: dict[int, str]) -> pd.DataFrame:
    """Of times that are single steps', each stands for one; else for those since the one before."""
    windows = build_windows(stages.ends, tagged)
    if not stages.are_single_steps or not len(windows):
        return windows
    steps = windows.index.to_numpy()
    marked = np.isin(steps, [*tagged, steps[0]])
    names = [
        tagged.get(int(step), "first") if mark else ""
        for step, mark in zip(steps, marked, strict=True)
    ]
    return windows.assign(
        num_steps=1, num_tagged=marked.astype("int64"), is_tagged=marked, tags=names
    )


def _steps_of_stages(stages: LogStages, windows: pd.DataFrame, clock: Clock) -> pd.DataFrame:
    """The table `steps` where a log has no step line, but times of stages."""
    steps = windows.index.to_numpy("int64")
    return declared.STEPS.from_columns(
        rank=np.zeros(len(steps), dtype="int64"),
        step=steps,
        num_steps=windows["num_steps"].to_numpy(),
        is_tagged=windows["is_tagged"].to_numpy(),
        tags=windows["tags"].to_numpy(),
        num_tagged=windows["num_tagged"].to_numpy(),
        clock=pd.Categorical([clock]).repeat(len(steps)),
    )


def _repetition_notes(repeated: int) -> tuple[str, ...]:
    if not repeated:
        return ()
    return (
        say(
            "{repeated} step lines repeat a step; the last line of each step was used",
            repeated=repeated,
        ),
    )
