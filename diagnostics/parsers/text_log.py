"""The text log of a run: ours, and the original VRT-Spike trainer's as far as it states facts.

One pass, line by line, in bounded memory. Colours, CRLF, damaged UTF-8, prefixes of launchers and
lines of other programs in between do no harm. A line is recognised by a marker anywhere in it.
"""

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diagnostics import tables as declared
from diagnostics.errors import DiagnosticsError
from diagnostics.parsers import log_lines
from diagnostics.parsers.line_reader import LineReader
from diagnostics.parsers.log_windows import (
    build_windows,
    last_of,
    step_line_phases,
    steps_of,
    tags_after,
    with_windows,
)
from diagnostics.parsers.row_buffer import RowBuffer
from diagnostics.parsers.stage_lines import StageLines
from diagnostics.run import Clock, LogFamily, RunStatus, RunTables

MAX_LINE_BYTES = 64 * 1024
_MAX_TEXT = 8192  # of a line that one format can fill; bounds what the patterns have to search
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_STATUSES: dict[str, RunStatus] = {
    "finished": "finished",
    "interrupted": "interrupted",
    "failed": "failed",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TextLog:
    """What a text log states. `run_fields` are those of its `[run]` line, empty without one."""

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


def read_run_line(path: Path) -> dict[str, str] | None:
    """The fields of the `[run]` line at the start of the log; None if it has none.

    Raises:
        DiagnosticsError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(MAX_LINE_BYTES)
    except OSError as error:
        raise DiagnosticsError(f"cannot read {path}: {error.strerror}") from None
    for line in _ANSI.sub(b"", head).splitlines()[:50]:
        if b"[run] id=" in line:
            return log_lines.parse_run(line.decode("utf-8", "replace"))
    return None


def parse_text_log(path: Path) -> TextLog:
    """Reads a text log.

    Raises:
        DiagnosticsError: it cannot be read, is empty, or no line of it has a known format.
    """
    return _LogParser(path).parse()


class _LogParser:
    """The state of one pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = LineReader(path, MAX_LINE_BYTES)
        self.log_steps = RowBuffer(declared.LOG_STEPS)
        self.step_ends: array[int] = array("q")
        self.stage_lines = StageLines()
        self.events = RowBuffer(declared.EVENTS, max_rows=100_000)
        self.spans = RowBuffer(declared.SPANS, max_rows=100_000)
        self.progress = RowBuffer(declared.PROGRESS, max_rows=1_000_000)
        self.memory_lines = RowBuffer(declared.MEMORY_LINES, max_rows=1_000_000)
        self.validations = RowBuffer(declared.VALIDATIONS, max_rows=1_000_000)
        self.cache_stats = RowBuffer(declared.CACHE_STATS, max_rows=1_000_000)
        self.tags: dict[int, str] = {}
        self.run_fields: dict[str, str] = {}
        self.status: RunStatus | None = None
        self.gpus_absent_reason: str | None = None
        self.step: int | None = None
        self.cache: dict[str, Any] | None = None
        self.has_step_time = False
        self.num_recognised = 0

    # Parsing -------------------------------------------------------------------------------

    def parse(self) -> TextLog:
        handlers = self._handlers()
        for line in self.reader:
            if b"\x1b" in line:
                line = _ANSI.sub(b"", line)
            for marker, handle in handlers:
                if marker in line:
                    start = max(0, line.find(marker) - 40)
                    if handle(line[start : start + _MAX_TEXT].decode("utf-8", "replace")):
                        self.num_recognised += 1
                        break
        self._check_something_was_read()
        return self._result()

    def _handlers(self) -> tuple[tuple[bytes, Callable[[str], bool]], ...]:
        """Markers in the order of trial: frequent ones first, special ones before general ones."""
        return (
            (b"stages ", self.stage_lines.add),
            (b"stages.", self.stage_lines.add),
            (b"[progress] ", self._on_progress),
            (b"[tags] step ", self._on_tags),
            (b"[val] step ", self._on_validation),
            (b"[checkpoint] step ", self._on_checkpoint),
            (b"] Memory - Process: ", self._on_memory),
            (b"step ", self._on_step),
            (b"[run] id=", self._on_run),
            (b"[epoch] ", self._on_epoch),
            (b"[numerics] step ", self._on_numerics),
            (b": NaN/Inf detected", self._on_numerics),
            (b"Avg data time: ", self._on_avg_data_time),
            (b"critically high", self._on_memory_warning),
            (b"[Memory Ceiling]", self._on_memory_warning),
            (b"[Memory Warning]", self._on_memory_warning),
            (b"[error] ", self._on_error),
            (b"ut of memory", self._on_oom),
            (b"OutOfMemoryError", self._on_oom),
            (b"a data loading process died: ", self._on_death),
            (b"Cache ", self._on_cache_line),
            (b"  - ", self._on_cache_item),
            (b"[end] ", self._on_end),
            (b"[resources] no NVIDIA GPU", self._on_no_gpu),
        )

    def _on_step(self, text: str) -> bool:
        record = log_lines.parse_step(text)
        if record is None:
            return self._on_original_checkpoint(text)
        self.step = record["step"]
        self.step_ends.append(record["step"])
        self.has_step_time |= "step_time_ms" in record
        self._add(self.log_steps, {"rank": 0} | record)
        return True

    def _on_original_checkpoint(self, text: str) -> bool:
        return "Checkpoint saved" in text and self._on_checkpoint(text)

    def _on_tags(self, text: str) -> bool:
        found = log_lines.parse_at_step(text)
        if found is None:
            return False
        self.tags[found[0]] = found[1]
        return True

    def _on_validation(self, text: str) -> bool:
        record = log_lines.parse_validation(text)
        if record is None:
            return False
        self._add(self.validations, record)
        self.spans.add((0, "validation", record["step"], None, None, {}))
        return True

    def _on_checkpoint(self, text: str) -> bool:
        found = log_lines.parse_at_step(text)
        if found is None:
            return False
        self.spans.add((0, "checkpoint", found[0], None, None, {"path": found[1]}))
        return True

    def _on_progress(self, text: str) -> bool:
        return self._add(self.progress, log_lines.parse_progress(text))

    def _on_memory(self, text: str) -> bool:
        return self._add(self.memory_lines, log_lines.parse_memory(text))

    def _on_run(self, text: str) -> bool:
        fields = log_lines.parse_run(text)
        if fields is None:
            return False
        self.run_fields = self.run_fields or fields
        return True

    def _on_end(self, text: str) -> bool:
        found = log_lines.parse_end(text)
        if found is None:
            return False
        status, steps, elapsed_s = found
        self.status = _STATUSES.get(status)
        if steps is not None:
            self.progress.add((steps, None, elapsed_s, None))
        return True

    def _on_no_gpu(self, text: str) -> bool:
        found = re.search(r"no NVIDIA GPU \((.*)\)", text)
        self.gpus_absent_reason = found[1][: log_lines.MAX_TEXT] if found else "no NVIDIA GPU"
        return True

    def _on_epoch(self, text: str) -> bool:
        values = log_lines.parse_epoch(text)
        return values is not None and self._event("epoch", self.step, values)

    def _on_numerics(self, text: str) -> bool:
        found = log_lines.parse_at_step(text)
        return found is not None and self._event("numerics", found[0], {"text": found[1]})

    def _on_avg_data_time(self, text: str) -> bool:
        ms = log_lines.number(text.partition("Avg data time: ")[2].strip().removesuffix("ms"))
        return ms is not None and self._event("avg_data_time", self.step, {"ms": ms})

    def _on_memory_warning(self, text: str) -> bool:
        values = {"percent": log_lines.parse_percent(text), "text": text[: log_lines.MAX_TEXT]}
        return self._event("memory_warning", self.step, values)

    def _on_error(self, text: str) -> bool:
        """The line that the run ended with; where it tells what ran out or died, that as well."""
        reason = text.partition("[error] ")[2].strip()[: log_lines.MAX_TEXT]
        if not reason:
            return False
        if "ut of memory" in reason or reason.startswith("host memory ran out"):
            self._on_oom(text)
        elif "a data loading process died: " in reason:
            self._on_death(text)
        return self._event("run_failed", self.step, {"reason": reason})

    def _on_oom(self, text: str) -> bool:
        return self._event("oom", self.step, {"text": text[: log_lines.MAX_TEXT]})

    def _on_death(self, text: str) -> bool:
        found = re.search(r"killed by signal: ([\w ]{1,40})", text)
        values = {
            "signal": found[1].strip() if found else None,
            "reason": text[: log_lines.MAX_TEXT],
        }
        return self._event("loading_process_died", self.step, values)

    def _on_cache_line(self, text: str) -> bool:
        if "Cache Stats:" in text:
            self.cache = {}
            return True
        record = log_lines.parse_cache(text)
        return record is not None and self._add_cache(record)

    def _on_cache_item(self, text: str) -> bool:
        """The three lines below `Cache Stats:`; the last one completes the record."""
        if self.cache is None or not (record := log_lines.parse_cache(text)):
            return False
        self.cache |= record
        if "Hit Rate:" in text:
            self._add_cache(self.cache)
            self.cache = None
        return True

    def _add_cache(self, record: dict[str, Any]) -> bool:
        return self._add(self.cache_stats, {"rank": 0, "step": self.step} | record)

    def _event(self, name: str, step: int | None, values: dict[str, Any]) -> bool:
        source = f"{self.path.name}:{self.reader.line_number}"
        self.events.add((0, name, step, None, values, source))
        return True

    def _add(self, buffer: RowBuffer, record: dict[str, Any] | None) -> bool:
        if record is None:
            return False
        buffer.add(tuple(record.get(name) for name in buffer.table.column_names))
        return True

    # Result --------------------------------------------------------------------------------

    def _check_something_was_read(self) -> None:
        if self.reader.line_number == 0 and not self.reader.is_last_cut:
            raise DiagnosticsError(f"{self.path} is empty: there is no line to read")
        if self.reader.line_number == 0:
            raise DiagnosticsError(
                f"{self.path}: its only line has no end, so there is no whole line to read"
            )
        if self.num_recognised == 0:
            raise DiagnosticsError(
                f"{self.path}: none of its {self.reader.line_number} lines has a known format; "
                "give the text log of a run (train_<date>_<time>.log) or its folder under profiles/"
            )

    def _result(self) -> TextLog:
        buffers = (self.log_steps, self.stage_lines, self.events, self.spans)
        limits = [note for buffer in buffers for note in buffer.notes()]
        all_log_steps = self.log_steps.frame()
        log_steps = last_of(all_log_steps, ["step"])
        repeated = _repetition_notes(len(all_log_steps) - len(log_steps))
        notes = (*self.reader.notes(), *limits, *repeated)
        total = log_steps["total_steps"].max()
        return TextLog(
            path=self.path,
            run_fields=self.run_fields,
            family=self._family(len(log_steps)),
            clock=self._stated_clock(),
            status=self.status,
            total_steps=None if pd.isna(total) else int(total),
            gpus_absent_reason=self.gpus_absent_reason,
            tables=self._tables(log_steps),
            num_lines=self.reader.line_number,
            num_recognised=self.num_recognised,
            notes=notes,
        )

    def _family(self, num_step_lines: int) -> LogFamily | None:
        if self.run_fields or self.has_step_time:
            return "vrt-spike"
        return "original trainer" if num_step_lines else None

    def _stated_clock(self) -> Clock | None:
        stated = self.run_fields.get("clock")
        if stated == "device":
            return "device"
        return "host" if stated == "host" else self.stage_lines.clock

    def _tables(self, log_steps: pd.DataFrame) -> RunTables:
        spans = self.spans.frame()
        tagged = tags_after(spans) | self.tags
        clock = self._stated_clock() or "host"
        step_windows = build_windows(self.step_ends, tagged)
        stage_windows = build_windows(self.stage_lines.ends, tagged)
        phases, stages = self.stage_lines.frames()
        whole_steps = with_windows(step_line_phases(log_steps, clock), step_windows)
        return RunTables(
            phases=declared.PHASES.concat([whole_steps, with_windows(phases, stage_windows)]),
            stages=declared.STAGES.validate(with_windows(stages, stage_windows)),
            steps=steps_of(log_steps, step_windows, clock),
            spans=spans,
            events=self.events.frame(),
            log_steps=log_steps,
            progress=self.progress.frame().sort_values("step", kind="stable", ignore_index=True),
            memory_lines=self.memory_lines.frame(),
            validations=last_of(self.validations.frame(), ["step"]),
            cache_stats=self.cache_stats.frame(),
        )


def _repetition_notes(repeated: int) -> tuple[str, ...]:
    if not repeated:
        return ()
    return (f"{repeated} step lines repeat a step; the last line of each step was used",)
