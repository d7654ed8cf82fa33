"""From the loader's part of a step's record to the rows of its tables."""

from collections.abc import Mapping

from diagnostics.loading_tables import COPIES, FETCHES, LOADING
from diagnostics.parsers.fact_records import StepRecord
from diagnostics.parsers.row_buffer import RowBuffer

LOADING_TABLES = (FETCHES, LOADING, COPIES)
LOADING_KEYS = {
    "fetches": ["rank", "step", "number"],
    "loading": ["rank", "step", "name"],
    "copies": ["rank", "step"],
}


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
                )
            )
        for name, ms in (record.loader.part_ms or {}).items():
            buffers["loading"].add((*head, name, ms))
    if record.copy is not None:
        buffers["copies"].add((*head, record.copy.bytes, record.copy.pinned_bytes))
