"""From the records of a facts folder to the rows of the declared tables."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.language import say
from diagnostics.memory_tables import ALLOCATION_FAILURES
from diagnostics.parsers.allocation_failure import failure_row
from diagnostics.parsers.black_box_files import FoundDump
from diagnostics.parsers.fact_records import (
    EventRecord,
    MemoryRecord,
    ResourceRecord,
    SpanRecord,
    StagesRecord,
    StepRecord,
    Values,
)
from diagnostics.parsers.layout_buffer import LayoutBuffer
from diagnostics.parsers.loading_rows import (
    LOADING_KEYS,
    LOADING_TABLES,
    add_loading,
    amount,
    loader_event_rows,
)
from diagnostics.parsers.rank_rows import communication_row, rank_rows
from diagnostics.parsers.row_buffer import MAX_ROWS, RowBuffer
from diagnostics.run import RunTables
from diagnostics.table_type import Table

_VALIDATION_COLUMNS = ("psnr_rgb_db", "psnr_y_db", "ssim_y", "input_psnr_rgb_db")
_CACHE_KEYS = {
    "num_items": ("num_items", "items"),
    "used_bytes": ("used_bytes", "memory_bytes"),
    "limit_bytes": ("limit_bytes", "max_memory_bytes"),
    "hits": ("hits",),
    "misses": ("misses",),
    "evicted": ("evicted",),
    "refused": ("refused",),
    "no_room": ("no_room",),
    "first_rank": ("first_rank",),
}
_KEYS = {
    "steps": ["rank", "step"],
    "phases": ["rank", "step", "name", "clock"],
    "stages": ["rank", "step", "name", "phase", "clock"],
    **LOADING_KEYS,
    "communication": ["rank", "step"],
    "rank_places": ["rank"],
}
_MAX_ROWS = {"events": 100_000, "spans": 100_000, "rank_places": 100_000, "rank_clocks": 100_000}
_MAX_TEXT = 500
_FAILURE_TEXTS = ("stage", "phase", "place", "shapes")
_NO_MEMORY = MemoryRecord()
_HOST, _DEVICE = {"clock": "host"}, {"clock": "device"}


class FactRows:
    """Collects the rows of one run; `tables` closes the collection."""

    def __init__(self) -> None:
        self.buffers = {
            table.name: RowBuffer(table, _MAX_ROWS.get(table.name, MAX_ROWS))
            for table in (
                declared.PHASES,
                declared.STAGES,
                declared.STEPS,
                declared.SPANS,
                declared.EVENTS,
                declared.HOST,
                declared.PROCESSES,
                declared.GPUS,
                declared.CORES,
                declared.SAMPLER,
                declared.VALIDATIONS,
                declared.CACHE_STATS,
                *LOADING_TABLES,
                declared.COMMUNICATION,
                declared.RANK_PLACES,
                declared.RANK_CLOCKS,
                ALLOCATION_FAILURES,
            )
        }
        self._phases = LayoutBuffer(self.buffers["phases"])
        self._stages = LayoutBuffer(self.buffers["stages"])
        self.gpus_absent_reason: str | None = None
        self._tagged: set[tuple[int, int]] = set()
        self._repeated: list[str] = []

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences; complete after `tables`."""
        thinned = (note for buffer in self.buffers.values() for note in buffer.notes())
        return (*thinned, *self._repeated)

    def add_step(self, record: StepRecord, rank: int) -> None:
        """A step: its row in `steps`, and one in `phases` for each phase and clock."""
        add_loading(self.buffers, record, rank)
        is_tagged = bool(record.tags)
        if is_tagged:
            self._tagged.add((rank, record.step))
        place = (rank, record.step)
        self._phases.add(place, record.host_ms, _HOST, is_tagged=is_tagged)
        if record.device_ms:
            self._phases.add(place, record.device_ms, _DEVICE, is_tagged=is_tagged)
        self.buffers["steps"].add(
            (
                rank,
                record.step,
                1,
                is_tagged,
                ",".join(record.tags),
                int(is_tagged),
                record.clock,
                record.start_unix_s,
                record.micro_batches,
                record.samples,
                record.loss,
                record.lr,
                record.grad_norm,
                ",".join(record.nonfinite) or None,
                *msgspec.structs.astuple(record.memory or _NO_MEMORY),
                record.recorder_ms,
            )
        )

        if record.communication is not None:
            row = communication_row(rank, record.step, record.communication, is_tagged=is_tagged)
            self.buffers["communication"].add(row)

    def add_stages(self, record: StagesRecord, rank: int) -> None:
        """The stages of a step; their tags are those of the step, known when all is read."""
        self._stages.add(
            (rank, record.step),
            record.ms,
            {"phase": record.phase, "clock": record.clock},
            calls=record.calls,
            peak_allocated_bytes=record.peak_allocated_bytes,
        )

    def add_span(self, record: SpanRecord, rank: int) -> None:
        """A span; a validation of rank 0 is also a row of `validations`."""
        start, ms = record.start_unix_s, record.host_ms
        self.buffers["spans"].add(
            (rank, record.name, record.step, start, ms, _clipped(record.values))
        )
        if record.name == "validation" and rank == 0:
            quality = [_quality(record.values, column) for column in _VALIDATION_COLUMNS]
            self.buffers["validations"].add((record.step, *quality, ms))

    def add_event(self, record: EventRecord, rank: int, source: str) -> None:
        """An event; statistics of the cache are also a row of `cache_stats`."""
        if record.name == "gpus_absent" and isinstance(record.values.get("reason"), str):
            self.gpus_absent_reason = str(record.values["reason"])[:_MAX_TEXT]
        self.buffers["events"].add(
            (rank, record.name, record.step, record.at_unix_s, _clipped(record.values), source)
        )
        if record.name == "out_of_memory":
            self._add_failure(record, rank, source)
        for table, row in rank_rows(record, rank):
            self.buffers[table].add(row)
        for table, row in loader_event_rows(record, rank):
            self.buffers[table].add(row)
        found = {
            column: next(
                (amount(record.values.get(key)) for key in keys if key in record.values), None
            )
            for column, keys in _CACHE_KEYS.items()
        }
        if record.name.startswith("cache") and any(value is not None for value in found.values()):
            self.buffers["cache_stats"].add((rank, record.step, *found.values()))

    def _add_failure(self, record: EventRecord, rank: int, source: str) -> None:
        """The whole message counts here, which is clipped in the table of events."""
        said = {key: str(value) for key, value in record.values.items() if value is not None}
        where = said.get("where")
        self.buffers["allocation_failures"].add(
            failure_row(
                said.get("reason", ""),
                rank=rank,
                step=record.step,
                at_unix_s=record.at_unix_s,
                memory=where if where in ("device", "host") else None,
                **{key: said[key][:_MAX_TEXT] for key in _FAILURE_TEXTS if key in said},
                source=source,
            )
        )

    def add_found_dump(self, dump: FoundDump) -> None:
        """A file of the black box, which an event may tell of too."""
        values = {"reason": dump.reason, "file": dump.file}
        row = (dump.rank, "black_box_found", None, dump.at_unix_s, values, dump.file)
        self.buffers["events"].add(row)

    def add_resources(self, record: ResourceRecord, host: str) -> None:
        """A sample of the machine."""
        head = {"host": host, "at_unix_s": record.at_unix_s}
        self._add_struct("host", declared.HOST, head, record.host)
        for core, percent in enumerate(record.host.core_percent or ()):
            self.buffers["cores"].add((host, record.at_unix_s, core, percent))
        if record.sampler is not None:
            self._add_struct("sampler", declared.SAMPLER, head, record.sampler)
        for process in record.processes:
            self._add_struct("processes", declared.PROCESSES, head, process)
        for gpu in record.gpus or ():
            self._add_struct("gpus", declared.GPUS, head, gpu)
        if record.gpus is None and record.gpus_absent_reason:
            self.gpus_absent_reason = record.gpus_absent_reason[:_MAX_TEXT]

    def _add_struct(self, name: str, table: Table, head: dict[str, Any], record: Any) -> None:
        values = head | msgspec.structs.asdict(record)
        self.buffers[name].add(tuple(values.get(column) for column in table.column_names))

    def tables(self) -> RunTables:
        """Every table, sorted by rank, step or time, whatever the order of the lines."""
        self._phases.close()
        self._stages.close()
        frames = {name: _sorted(buffer.frame()) for name, buffer in self.buffers.items()}
        for name, key in _KEYS.items():
            if not may_repeat(frames[name], key):
                continue
            kept = frames[name].drop_duplicates(key, keep="last", ignore_index=True)
            if repeated := len(frames[name]) - len(kept):
                self._repeated.append(
                    say(
                        "{repeated} row(s) of {name} (was|were) there twice; the last counts",
                        repeated=repeated,
                        name=name,
                    )
                )
            frames[name] = kept
        frames["stages"] = frames["stages"].assign(is_tagged=self._stage_tags(frames["stages"]))
        return RunTables(**frames)

    def _stage_tags(self, stages: pd.DataFrame) -> pd.Series:
        if not self._tagged:
            return pd.Series(False, index=stages.index)
        width = int(stages["step"].max() if len(stages) else 0) + 2
        tagged = [rank * width + step for rank, step in self._tagged if step < width]
        found = np.isin(stages["rank"].to_numpy() * width + stages["step"].to_numpy(), tagged)
        return pd.Series(found, index=stages.index)


def may_repeat(frame: pd.DataFrame, key: Sequence[str]) -> bool:
    """Whether two rows might have the same key; cheaper than looking for them."""
    codes = np.zeros(len(frame), dtype="float64")
    for name in key:
        column = frame[name]
        values = column.cat.codes if column.dtype == "category" else column
        if values.dtype.kind not in "iuf":
            return True
        numbers = values.to_numpy("float64")
        width = float(numbers.max()) + 2 if len(numbers) else 1.0
        codes = codes * width + numbers + 1
    if len(codes) and not codes.max() < 2**53:  # beyond it numbers are no longer told apart
        return True
    return len(np.unique(codes)) < len(codes)


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    wanted = ("host", "rank", "step", "at_unix_s", "start_unix_s", "pid", "index")
    keys = [name for name in wanted if name in frame.columns]
    if keys == ["rank", "step"] and frame["rank"].nunique() == 1:
        if frame["step"].is_monotonic_increasing:
            return frame.reset_index(drop=True)
        return frame.iloc[np.argsort(frame["step"].to_numpy(), kind="stable")].reset_index(
            drop=True
        )
    return frame.sort_values(keys, kind="stable", ignore_index=True) if keys else frame


def _clipped(values: Values) -> Values:
    return {
        key[:_MAX_TEXT]: value[:_MAX_TEXT] if isinstance(value, str) else value
        for key, value in values.items()
    }


def _quality(values: Values, column: str) -> float | None:
    for key, value in values.items():
        if key.lower().replace(" ", "_") in (column, column.removesuffix("_db")):
            return _float(value)
    return None


def _float(value: float | int | str | None) -> float | None:
    if isinstance(value, str) or value is None or abs(value) > 1e18:
        return None
    return float(value)
