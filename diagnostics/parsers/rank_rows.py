"""From what a run says about its ranks to rows of the tables about them."""

from collections.abc import Iterator
from typing import Any

from diagnostics.parsers.fact_records import CommunicationRecord, EventRecord, Values

_MAX_TEXT = 200
_MAX_NUMBER = 1e15


def communication_row(
    rank: int, step: int, record: CommunicationRecord, *, is_tagged: bool
) -> tuple[Any, ...]:
    """A row of `communication`."""
    return (
        rank,
        step,
        is_tagged,
        record.clock,
        record.buckets,
        record.bytes,
        record.exchanges,
        record.ms,
        record.exposed_ms,
        record.launch_ms,
        record.wait_ms,
    )


def rank_rows(record: EventRecord, rank: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The name of a table and its row, for an event about a rank's place or clock."""
    values = record.values
    if record.name == "rank_place":
        yield (
            "rank_places",
            (
                rank,
                _number(values, "world_size"),
                _number(values, "local_rank"),
                _text(values, "host"),
                _number(values, "pid"),
                _device(values),
                _text(values, "device_name"),
            ),
        )
    elif record.name == "clock_offset":
        offset, error = _number(values, "offset_ms"), _number(values, "uncertainty_ms")
        if offset is not None and error is not None:
            moment = _text(values, "moment") or "unknown"
            yield "rank_clocks", (rank, moment, record.at_unix_s, offset, error)


def _device(values: Values) -> str | None:
    kind, index = _text(values, "device_type"), _number(values, "device_index")
    return kind if index is None or kind is None else f"{kind}:{index:g}"


def _number(values: Values, key: str) -> float | None:
    value = values.get(key)
    if isinstance(value, str) or value is None or not abs(value) <= _MAX_NUMBER:
        return None
    return float(value)


def _text(values: Values, key: str) -> str | None:
    value = values.get(key)
    return value[:_MAX_TEXT] if isinstance(value, str) else None
