"""Reads a Kineto or Chrome trace: one pass, typed, memory bounded by a setting."""

import gc
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.trace_blocks import NotATraceError, TraceText
from diagnostics.parsers.trace_bytes import open_trace
from diagnostics.parsers.trace_columns import TraceColumns
from diagnostics.parsers.trace_events import decode
from diagnostics.trace import Trace

SPILL_BYTES = 8 << 20
"""A kind's rows go to disk beyond this."""

_MAX_FIELDS_BYTES = 16 << 20
_RANK_IN_NAME = re.compile(r"rank[-_]?(\d+)", re.IGNORECASE)


def parse_trace(path: Path, spill_bytes: int = SPILL_BYTES) -> Trace:
    """Reads a trace, whole or cut short.

    Args:
        path: `.json` or `.json.gz`, an object with `traceEvents` or a bare list of events.
        spill_bytes: How much of each kind stays in memory.

    Raises:
        DiagnosticsError: it cannot be read or is no trace; one line.
    """
    columns = TraceColumns(spill_bytes)
    text = TraceText()
    num_events = num_unread = 0
    with open_trace(path) as source, _without_collection():
        try:
            for body in text.bodies(source.blocks()):
                events, bad = decode(body)
                columns.add(events)
                num_events += len(events)
                num_unread += bad
        except NotATraceError as error:
            raise DiagnosticsError(f"{path} is no trace: {error}") from None
    fields = _fields(text)
    is_cut_short = text.is_cut_short or source.is_cut_short
    return _trace(path, columns, fields, (num_events, num_unread, is_cut_short))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python's cycle collector walks all events again and again: 3/4 of the time otherwise."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _trace(
    path: Path,
    columns: TraceColumns,
    fields: Mapping[str, Any],
    counts: tuple[int, int, bool],
) -> Trace:
    num_events, num_unread, is_cut_short = counts
    distributed = fields.get("distributedInfo")
    distributed = distributed if isinstance(distributed, dict) else {}
    rank = _whole(distributed.get("rank"))
    events = columns.sorted()
    return Trace(
        path=path,
        events=events,
        names=columns.names.texts,
        tracks=tuple(columns.tracks),
        rank=_rank_of_name(path) if rank is None else rank,
        world_size=_whole(distributed.get("world_size")),
        backend=distributed.get("backend") if isinstance(distributed.get("backend"), str) else None,
        devices=_devices(fields.get("deviceProperties")),
        has_stacks=bool(len(events["python"])),
        num_events=num_events,
        num_unread=num_unread + columns.num_bad_times,
        is_cut_short=is_cut_short,
        notes=_notes(num_unread, columns, is_cut_short),
    )


def _notes(num_unread: int, columns: TraceColumns, is_cut_short: bool) -> tuple[str, ...]:
    notes = []
    if is_cut_short:
        notes.append("it is cut short, or still being written: what is there was read")
    if num_unread:
        notes.append(f"{num_unread} events are not valid JSON and were left out")
    if columns.num_bad_times:
        notes.append(f"{columns.num_bad_times} events have an impossible time and were left out")
    return tuple(notes)


def _fields(text: TraceText) -> dict[str, Any]:
    """What the trace says beside its events; a part that cannot be read says nothing."""
    found: dict[str, Any] = {}
    for part in (text.head.rstrip().rstrip(b",") + b"}", b"{" + text.tail.strip().lstrip(b",")):
        if len(part) > _MAX_FIELDS_BYTES:
            continue
        try:
            value = json.loads(part)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found |= value
    return found


def _devices(value: Any) -> tuple[Mapping[str, Any], ...]:
    listed = value if isinstance(value, list) else []
    return tuple(each for each in listed if isinstance(each, dict))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _rank_of_name(path: Path) -> int | None:
    found = _RANK_IN_NAME.search(path.name)
    return int(found[1]) if found and len(found[1]) < 7 else None
