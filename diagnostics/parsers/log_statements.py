"""What a log says once or now and then: events, spans, validations, settings, the end."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostics import tables as declared
from diagnostics.memory_tables import ALLOCATION_FAILURES
from diagnostics.parsers import log_lines
from diagnostics.parsers.allocation_failure import failure_row
from diagnostics.parsers.row_buffer import RowBuffer
from diagnostics.parsers.scanned import Integers, Statement
from diagnostics.run import RunStatus

_STATUSES: dict[str, RunStatus] = {
    "finished": "finished",
    "interrupted": "interrupted",
    "failed": "failed",
}
_EVENTS = ("epoch", "avg_data_time", "memory_warning", "loading_process_died")
MAX_FRAMES = 6
"""Innermost frames of a traceback that are kept for the error at its end."""


@dataclass
class LogStatements:
    """The rows of the statements of one log, and what it says about the run as a whole.

    `settings` has the configuration's own keys; of a setting stated twice the first counts, since
    the original trainer lists those of the validation below those of the training.
    """

    source: str
    step_places: Integers
    steps: Integers
    events: RowBuffer = field(default_factory=lambda: RowBuffer(declared.EVENTS, 100_000))
    spans: RowBuffer = field(default_factory=lambda: RowBuffer(declared.SPANS, 100_000))
    validations: RowBuffer = field(default_factory=lambda: RowBuffer(declared.VALIDATIONS))
    cache_stats: RowBuffer = field(default_factory=lambda: RowBuffer(declared.CACHE_STATS))
    failures: RowBuffer = field(default_factory=lambda: RowBuffer(ALLOCATION_FAILURES, 10_000))
    frames: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_FRAMES))
    tags: dict[int, str] = field(default_factory=dict)
    run_fields: dict[str, str] = field(default_factory=dict)
    status: RunStatus | None = None
    ended: list[tuple[int, float | None]] = field(default_factory=list)
    gpus_absent_reason: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    gpus: dict[int, tuple[str, float]] = field(default_factory=dict)
    summaries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Mapping[str, float] = field(default_factory=dict)
    place: int = 0
    _cache: dict[str, Any] | None = None

    def add_all(self, statements: Iterable[tuple[int, Statement]]) -> None:
        """Takes the statements in the order of the lines."""
        for place, each in statements:
            self.place = place
            take = getattr(self, f"_on_{each.kind}", None)
            if take is not None:
                take(each.value)
            elif each.kind in _EVENTS:
                values = each.value if isinstance(each.value, dict) else {"text": each.value}
                self._event(each.kind, self._step(), values)

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        buffers = (self.events, self.spans, self.validations, self.cache_stats, self.failures)
        return tuple(note for buffer in buffers for note in buffer.notes())

    def _step(self) -> int | None:
        """The step of the last step line before this line."""
        before = bisect_right(self.step_places, self.place)
        return int(self.steps[before - 1]) if before else None

    def _event(self, name: str, step: int | None, values: Mapping[str, Any]) -> None:
        self.events.add((0, name, step, None, dict(values), f"{self.source}:{self.place}"))

    def _failure(self, text: str) -> None:
        """An allocation that failed, at the innermost frames of the traceback above it."""
        self.failures.add(
            failure_row(
                text,
                step=self._step(),
                place=" < ".join(reversed(self.frames)) or None,
                source=f"{self.source}:{self.place}",
            )
        )
        self.frames.clear()

    def _on_frame(self, frame: str) -> None:
        self.frames.append(frame)

    def _on_oom(self, text: str) -> None:
        self._event("oom", self._step(), {"text": text[: log_lines.MAX_TEXT]})
        self._failure(text)

    def _on_tags(self, found: tuple[int, str]) -> None:
        self.tags[found[0]] = found[1]

    def _on_validation(self, record: dict[str, Any]) -> None:
        self.validations.add(_row(self.validations, record))
        self.spans.add((0, "validation", record["step"], None, None, {}))

    def _on_checkpoint(self, found: tuple[int, str]) -> None:
        self.spans.add((0, "checkpoint", found[0], None, None, {"path": found[1]}))

    def _on_run(self, fields: dict[str, str]) -> None:
        self.run_fields = self.run_fields or fields

    def _on_end(self, found: tuple[str, int | None, float | None]) -> None:
        status, steps, elapsed_s = found
        self.status = _STATUSES.get(status)
        if steps is not None:
            self.ended.append((steps, elapsed_s))

    def _on_no_gpu(self, reason: str) -> None:
        self.gpus_absent_reason = reason

    def _on_numerics(self, found: tuple[int, str]) -> None:
        self._event("numerics", found[0], {"text": found[1]})

    def _on_run_failed(self, values: dict[str, Any]) -> None:
        """The line that the run ended with; where it tells what ran out or died, that as well."""
        reason = values["reason"]
        if "ut of memory" in reason or reason.startswith("host memory ran out"):
            self._event("oom", self._step(), {"text": f"[error] {reason}"[: log_lines.MAX_TEXT]})
            self._failure(reason)
        elif "a data loading process died: " in reason:
            self._event("loading_process_died", self._step(), log_lines.parse_death(reason))
        self._event("run_failed", self._step(), {"reason": reason[: log_lines.MAX_TEXT]})

    def _on_cache(self, record: dict[str, Any]) -> None:
        held = {"rank": 0, "step": self._step()} | record
        self.cache_stats.add(_row(self.cache_stats, held))

    def _on_cache_begins(self, _: str) -> None:
        self._cache = {}

    def _on_cache_item(self, record: dict[str, Any]) -> None:
        """The lines below `Cache Stats:`; that of the hits completes the record."""
        if self._cache is None:
            return
        self._cache |= record
        if "hits" in record:
            self._on_cache(self._cache)
            self._cache = None

    def _on_setting(self, found: tuple[str, Any]) -> None:
        key, value = found
        if key == "finished":
            self.status = "finished"
        else:
            self.settings.setdefault(key, value)

    def _on_gpu(self, found: tuple[int, str, float]) -> None:
        self.gpus.setdefault(found[0], found[1:])

    def _on_runtime(self, values: Mapping[str, float]) -> None:
        self.runtime = values
        self.status = "finished"

    def _on_timing_summary(self, values: Mapping[str, Any]) -> None:
        self.summaries[values["name"]] = values


def _row(buffer: RowBuffer, record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in buffer.table.column_names)
