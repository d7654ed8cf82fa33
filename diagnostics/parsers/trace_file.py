"""Reads a Kineto or Chrome trace: one pass, typed, memory bounded by a setting."""

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.trace_blocks import NotATraceError, TraceText
from diagnostics.parsers.trace_bytes import MAX_EXPANSION, open_trace
from diagnostics.parsers.trace_columns import MAX_NAMES_BYTES
from diagnostics.parsers.trace_memory import MAX_DEVICES
from diagnostics.parsers.trace_parts import bodies_of
from diagnostics.parsers.trace_pieces import Workers, read_pieces
from diagnostics.parsers.trace_store import TraceStore
from diagnostics.trace import Trace

SPILL_BYTES = 8 << 20
"""A kind's rows go to disk beyond this."""

_MAX_FIELDS_BYTES = 4 << 20
_MAX_RANKS = 10_000_000
"""A number of a rank beyond this is none; a file's name may have as many digits."""
_MAX_TEXT = 100
_RANK_IN_NAME = re.compile(r"rank[-_]?(\d+)", re.IGNORECASE)


def parse_trace(
    path: Path, spill_bytes: int = SPILL_BYTES, workers: Workers | None = None
) -> Trace:
    """Reads a trace, whole or cut short.

    Args:
        path: `.json` or `.json.gz`, an object with `traceEvents` or a bare list of events.
        spill_bytes: How much of each kind stays in memory.
        workers: Processes that read with this one.

    Raises:
        DiagnosticsError: it cannot be read or is no trace; one line.
    """
    found = _Found(TraceStore(spill_bytes), TraceText())
    with open_trace(path) as source:
        bodies = bodies_of(found.text, source, path)
        try:
            for piece, bad in read_pieces(bodies, workers):
                found.store.add(piece)
                found.num_unread += bad
        except NotATraceError as error:
            raise DiagnosticsError(
                say("{path} is no trace: {error}", path=path, error=error)
            ) from None
        except BrokenExecutor:
            raise DiagnosticsError(
                say("cannot read {path}: a process that read it was killed", path=path)
            ) from None
        found.is_cut_short = found.text.is_cut_short or source.is_cut_short
        found.is_left_out = source.is_left_out
    return found.trace(path)


@dataclass
class _Found:
    """What was read of a trace, and what was not."""

    store: TraceStore
    text: TraceText
    num_unread: int = 0
    is_cut_short: bool = False
    is_left_out: bool = False

    def trace(self, path: Path) -> Trace:
        fields = _fields(self.text)
        distributed = fields.get("distributedInfo")
        distributed = distributed if isinstance(distributed, dict) else {}
        rank = _whole(distributed.get("rank"))
        events = self.store.sorted()
        return Trace(
            path=path,
            events=events,
            names=self.store.names,
            tracks=self.store.tracks,
            rank=_rank_of_name(path) if rank is None else rank,
            origin_ns=self.store.origin_ns + _base_ns(fields.get("baseTimeNanoseconds")),
            world_size=_whole(distributed.get("world_size")),
            backend=_text(distributed.get("backend")),
            devices=_devices(fields.get("deviceProperties")),
            memory=self.store.memory.recorded(),
            has_stacks=bool(len(events["python"])),
            num_events=self.store.num_events,
            num_unread=self.num_unread + self.store.num_bad_times,
            is_cut_short=self.is_cut_short,
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self.is_left_out:
            yield (
                say(
                    "it unpacks to more than {limit} times its size, which no trace "
                    "does: the rest was left out",
                    limit=MAX_EXPANSION,
                )
            )
        elif self.is_cut_short:
            yield "it is cut short, or still being written: what is there was read"
        if self.num_unread:
            yield say(
                "{num_unread} event(s) (is|are) not valid JSON and (was|were) left out",
                num_unread=self.num_unread,
            )
        if self.store.num_bad_times:
            yield say(
                "{num_bad_times} event(s) (has|have) an impossible time and (was|were) left out",
                num_bad_times=self.store.num_bad_times,
            )
        if self.store.misses_names:
            yield say(
                "it has more names than are kept ({limit} MiB of them)",
                limit=MAX_NAMES_BYTES >> 20,
            )
        if self.store.memory.is_full:
            yield say(
                "it tells the memory of more than {limit} devices: the others were left out",
                limit=MAX_DEVICES,
            )


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


def _text(value: Any) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) and value else None


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value < _MAX_RANKS else None


def _base_ns(value: Any) -> int:
    """Where the times are given from a base, since the epoch."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value < 1 << 63 else 0


def _rank_of_name(path: Path) -> int | None:
    found = _RANK_IN_NAME.search(path.name)
    return int(found[1]) if found and len(found[1]) < 7 else None
