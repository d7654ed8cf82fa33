"""The text log of a run: ours, the original VRT-Spike trainer's, and other trainers'.

One pass in bounded memory. Colours, CRLF, damaged UTF-8, prefixes of launchers and lines of other
programs in between do no harm: a line is recognised by a marker anywhere in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.errors import DiagnosticsError
from diagnostics.language import listed, say
from diagnostics.log_recognition import LogRecognition
from diagnostics.parsers import log_lines
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import LOG_LINE, MEMORY, PHASE, PHASES_PART, PROGRESS
from diagnostics.parsers.log_formats.registry import ORIGINAL, VRT_SPIKE, family_names
from diagnostics.parsers.log_kinds import recognition_of
from diagnostics.parsers.log_nonfinite import with_bad_losses
from diagnostics.parsers.log_phases import phase_rows, run_phase, with_stated_lengths
from diagnostics.parsers.log_rest import describe_rest, with_rest
from diagnostics.parsers.log_scan import MAX_LINE_BYTES, LogScan, scan_log, without_escapes
from diagnostics.parsers.log_stages import LogStages, stages_of
from diagnostics.parsers.log_start import start_of
from diagnostics.parsers.log_statements import LogStatements
from diagnostics.parsers.log_steps import ends_of, step_lines_of
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
from diagnostics.run import Clock, RunStatus, RunTables

__all__ = ["MAX_LINE_BYTES", "TextLog", "parse_text_log", "read_run_line"]


UNKNOWN = (
    "{path}: none of its {num_lines} lines has a known format; known are the logs of {families}; "
    "give one of these, a run's folder under profiles/ or a profiler trace, or record the loop "
    "with `vrtspike.profiling.record` (docs/any-trainer.md)"
)
CLOCK_READ_AS = "{family}: the times of phases count as device time: {because}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TextLog:
    """What a text log states. `run_fields` are those of its `[run]` line, empty without one.

    `notes` say what was left out, `remarks` how its times were read.
    `config` and `device` are what its start-up lines say of the settings and the GPU.
    `samples_per_step` is of all ranks. `is_unsynchronised`: its stage times are known to be
    differences of the host's clock around work that a GPU does later. `leaves_fetch_out`: its
    data_time is known to begin after the batch was fetched.
    """

    path: Path
    run_fields: dict[str, str]
    family: str | None
    clock: Clock | None
    status: RunStatus | None
    total_steps: int | None
    gpus_absent_reason: str | None
    tables: RunTables
    num_lines: int
    num_recognised: int
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    device: Mapping[str, str | int | None] = field(default_factory=dict)
    world_size: int | None = None
    samples_per_step: int | None = None
    timing_log: str | None = None
    is_unsynchronised: bool = False
    leaves_fetch_out: bool = False
    recognition: LogRecognition | None = None
    """Of a log that does not say of itself who wrote it."""


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
    frames = sum(statement.kind == "frame" for _, statement in scan.found.statements)
    if scan.found.num_recognised == frames:  # a traceback of no known error is no log
        families = listed(family_names())
        raise DiagnosticsError(say(UNKNOWN, path=path, num_lines=scan.num_lines, families=families))


class _Built:
    """The tables of one scanned log."""

    def __init__(self, path: Path, scan: LogScan) -> None:
        self.path = path
        self.scan = scan
        self.clock_lines = self._clock_lines()
        self.lines = step_lines_of(wide_rows(scan.found, LOG_LINE), self.clock_lines)
        self.stages = stages_of(scan.found)
        self.said = LogStatements(
            source=path.name,
            step_places=self.lines.places["place"].to_numpy("int64"),
            steps=self.lines.places["step"].to_numpy("int64"),
        )
        self.said.add_all(scan.found.statements)

    def log(self) -> TextLog:
        """The whole of it."""
        log_steps = self._log_steps()
        family = self._family(log_steps)
        start = start_of(self.said.settings, self.said.gpus)
        total = log_steps["total_steps"].max()
        family_name = family.name if family else None
        is_told = self.said.run_fields or start.config or self.said.summaries
        has_data_time = bool(log_steps["data_time_ms"].notna().any())
        tables = self._tables(log_steps, family)
        rest = describe_rest(family.name, tables.phases) if self._has_rest(family) else ()
        return TextLog(
            path=self.path,
            run_fields=self.said.run_fields,
            family=family_name,
            clock=self._clock(family),
            status=self.said.status,
            total_steps=start.total_steps if pd.isna(total) else int(total),
            gpus_absent_reason=self.said.gpus_absent_reason,
            tables=tables,
            num_lines=self.scan.num_lines,
            num_recognised=self.scan.found.num_recognised,
            notes=(*self.scan.notes, *self.said.notes(), *self.lines.notes),
            remarks=(*self.lines.remarks, *self._clock_remark(family), *rest),
            config=start.config,
            device=start.device,
            world_size=start.world_size,
            samples_per_step=start.samples_per_step or self._stated_samples(),
            timing_log=start.timing_log,
            is_unsynchronised=self.stages.are_single_steps or bool(self.said.summaries),
            leaves_fetch_out=bool(family and family.has_fetch is False and has_data_time),
            recognition=None if is_told or len(self.stages.ends) else recognition_of(self.scan),
        )

    def _family(self, log_steps: pd.DataFrame) -> LogFamily | None:
        """Our own step lines and the original trainer's differ in the step's time alone."""
        if self.lines.family is not None and self.lines.family is not VRT_SPIKE:
            return self.lines.family
        if self.said.run_fields or bool(log_steps["step_time_ms"].notna().any()):
            return VRT_SPIKE
        is_original = len(log_steps) or self.stages.are_single_steps
        return ORIGINAL if is_original else None

    def _clock(self, family: LogFamily | None) -> Clock | None:
        """That of the phases: as stated, as the stage lines say, or as the family times them."""
        stated = self.said.run_fields.get("clock")
        if stated in ("device", "host"):
            return "device" if stated == "device" else "host"
        if self.stages.clock is not None:
            return self.stages.clock
        if family is None or family is VRT_SPIKE or not self._has_phases():
            return None
        told = self.lines.rows.get("clock")
        if told is not None and told.iloc[-1] in ("device", "host"):
            return "device" if told.iloc[-1] == "device" else "host"
        return family.clock

    def _clock_remark(self, family: LogFamily | None) -> tuple[str, ...]:
        if family is None or not family.clock_because or not self._has_phases():
            return ()
        return (say(CLOCK_READ_AS, family=family.name, because=family.clock_because),)

    def _has_phases(self) -> bool:
        kinds = {key.kind for key in self.scan.found.columns}
        return PHASES_PART in kinds or any(str(name).startswith(PHASE) for name in self.lines.rows)

    def _has_rest(self, family: LogFamily | None) -> TypeGuard[LogFamily]:
        """Its timers wait for the device, so that what none of them holds can be told."""
        return family is not None and family.is_foreign and self._clock(family) == "device"

    def _stated_samples(self) -> int | None:
        stated = self.lines.rows.get("samples_per_step")
        return None if stated is None or pd.isna(stated.median()) else int(stated.median())

    def _log_steps(self) -> pd.DataFrame:
        rows = self.lines.rows
        rate = self.said.runtime.get("train_samples_per_second")
        if rate is not None and "samples_per_s" not in rows:
            rows = rows.assign(samples_per_s=float(rate))
        return table_rows(rows, declared.LOG_STEPS)

    def _tables(self, log_steps: pd.DataFrame, family: LogFamily | None) -> RunTables:
        spans = self.said.spans.frame()
        tagged = tags_after(spans) | self.said.tags
        clock = self._clock(family)
        left_out = self.scan.found.steps_left_out.get(LOG_LINE, [])
        step_windows = build_windows(ends_of(self.lines.rows, left_out), tagged)
        step_windows = with_stated_lengths(step_windows, self.lines.rows)
        stage_windows = _stage_windows(self.stages, tagged)
        progress = self._progress()
        whole_steps = with_windows(step_line_phases(log_steps, self.stages.clock), step_windows)
        if not (whole_steps["name"] == "step").any() and not self.said.run_fields:
            whole_steps = declared.PHASES.concat(
                [whole_steps, *self._wall_steps(log_steps, tagged)]
            )
        parts = phase_rows(self.scan.found, self.lines.rows, clock or "host", step_windows)
        if self._has_rest(family):
            whole_steps, parts = with_rest(whole_steps, parts)
        phases = with_windows(self.stages.phases, stage_windows)
        steps = steps_of(log_steps, step_windows, clock or "host")
        steps = with_bad_losses(steps, self.lines.places, self.scan.found)
        if not len(steps):
            steps = _steps_of_stages(self.stages, stage_windows, clock or "host")
        if self.stages.are_single_steps:  # what is timed is one forward, whatever a step has
            steps = steps.assign(micro_batches=1.0)
        return RunTables(
            phases=declared.PHASES.concat([whole_steps, parts, phases, self._summed_up(phases)]),
            stages=declared.STAGES.validate(with_windows(self.stages.stages, stage_windows)),
            steps=steps,
            spans=spans,
            events=self.said.events.frame(),
            log_steps=log_steps,
            progress=progress,
            memory_lines=self._memory_lines(),
            validations=last_of(self.said.validations.frame(), ["step"]),
            cache_stats=self.said.cache_stats.frame(),
            allocation_failures=self.said.failures.frame(),
        )

    def _summed_up(self, phases: pd.DataFrame) -> pd.DataFrame:
        """The forward of the original trainer's summary, where no line of a step states it."""
        summary = self.said.summaries.get("forward")
        if summary is None or (phases["name"] == "forward").any():
            return declared.PHASES.empty()
        return run_phase(int(summary["count"]), float(summary["avg_ms"]), "forward")

    def _wall_steps(self, log_steps: pd.DataFrame, tagged: dict[int, str]) -> list[pd.DataFrame]:
        """The step by the log's own clock, or as the whole run's time tells it."""
        by_clock = progress_phases(self.lines.wall, tagged)
        rate = self.said.runtime.get("train_steps_per_second")
        if len(by_clock) or not rate or not len(log_steps):
            return [by_clock]
        last = int(log_steps["step"].max())
        return [run_phase(last, 1000.0 / float(rate))]

    def _clock_lines(self) -> pd.DataFrame:
        """The progress lines of the longest bar: an evaluation has bars of its own."""
        rows = with_whole_steps(wide_rows(self.scan.found, PROGRESS))
        if "total_steps" in rows:
            rows = rows[~(rows["total_steps"] < rows["total_steps"].max())]
        return rows.assign(
            elapsed_s=_clock_seconds(rows, "elapsed"), eta_s=_clock_seconds(rows, "eta")
        )

    def _progress(self) -> pd.DataFrame:
        ended = [(steps, None, elapsed_s, None) for steps, elapsed_s in self.said.ended]
        parts = [
            table_rows(self.clock_lines, declared.PROGRESS),
            declared.PROGRESS.from_rows(ended),
        ]
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
    """Hours, minutes and seconds together; without hours there are none."""
    if f"{name}_s" not in rows:
        return pd.Series(np.nan, index=rows.index)
    seconds = rows[f"{name}_s"]
    for unit, length in (("h", 3600), ("m", 60)):
        if f"{name}_{unit}" in rows:
            seconds = seconds + rows[f"{name}_{unit}"].fillna(0.0) * length
    return seconds


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
