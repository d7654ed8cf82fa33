"""From the loader's part of a step's record to the rows of its tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from diagnostics.loading_tables import COPIES, DATA_SETS, FETCHES, LOADING, WORKER_PLANS
from diagnostics.parsers.fact_records import EventRecord, StepRecord, Values
from diagnostics.parsers.row_buffer import RowBuffer

LOADING_TABLES = (FETCHES, LOADING, COPIES, WORKER_PLANS, DATA_SETS)
LOADING_KEYS = {
    "fetches": ["rank", "step", "number"],
    "loading": ["rank", "step", "name"],
    "copies": ["rank", "step"],
    "worker_plans": ["rank"],
    "data_sets": ["rank"],
}
_MAX_TEXT, _MAX_PARTS = 500, 20
_MAX_NUMBER = 1e15


def add_loading(buffers: Mapping[str, RowBuffer], record: StepRecord, rank: int) -> None:
    """The step's fetches, the parts of their making, and its copies, where it has any."""
    head = (rank, record.step, bool(record.tags))
    if record.loader is not None:
        for number, fetch in enumerate(record.loader.fetches):
            buffers["fetches"].add(
                (
                    *head,
                    number,
                    fetch.wait_ms,
                    fetch.ready,
                    fetch.worker,
                    fetch.samples,
                    fetch.made_ms,
                    fetch.queued_ms,
                    None if fetch.is_first is None else float(fetch.is_first),
                )
            )
        for name, ms in (record.loader.part_ms or {}).items():
            buffers["loading"].add((*head, name, ms))
    if record.copy is not None:
        buffers["copies"].add((*head, record.copy.bytes, record.copy.pinned_bytes))


def loader_event_rows(record: EventRecord, rank: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The rows of an event about the loader, each with the name of its table."""
    for row in worker_plan_rows(record, rank):
        yield "worker_plans", row
    if record.name == "data_set":
        names = DATA_SETS.column_names[1:]
        yield "data_sets", (rank, *(amount(record.values.get(name)) for name in names))


def worker_plan_rows(record: EventRecord, rank: int) -> Iterator[tuple[Any, ...]]:
    """The row of an event that says how the number of loading processes came about."""
    if record.name != "worker_plan":
        return
    values = record.values
    names = [column.name for column in WORKER_PLANS.columns if column.dtype == "float"]
    texts = [
        value[:_MAX_TEXT] if isinstance(value := values.get(name), str) else None
        for name in ("worker_rule", "reason")
    ]
    yield (rank, *(_number(values.get(name)) for name in names), _parts(values), *texts)


def _parts(values: Values) -> dict[str, float]:
    """`part_<name>_ms` by name."""
    held = {
        key.removeprefix("part_").removesuffix("_ms"): _number(value)
        for key, value in list(values.items())
        if key.startswith("part_") and key.endswith("_ms")
    }
    return {name[:_MAX_TEXT]: ms for name, ms in list(held.items())[:_MAX_PARTS] if ms is not None}


def amount(value: float | int | str | None) -> float | None:
    """A count or a size: 0, or at least one; what cannot be one is missing."""
    found = _number(value)
    return found if found is not None and (found == 0 or found >= 1) else None


def _number(value: float | int | str | None) -> float | None:
    if isinstance(value, str) or value is None or not abs(value) <= _MAX_NUMBER:
        return None
    return float(value)
