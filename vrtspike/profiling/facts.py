"""The files of one rank's facts, written as the run goes."""

import logging
from collections.abc import Sequence
from pathlib import Path

from vrtspike.profiling.jsonl_writer import JsonlWriter, replace_file
from vrtspike.profiling.records import (
    EventRecord,
    RunRecord,
    SpanRecord,
    StagesRecord,
    StepRecord,
    to_line,
    to_meta_json,
)

_log = logging.getLogger(__name__)


class FactsWriter:
    """Writes steps and spans of one rank, and `meta.json` on rank 0.

    A folder that cannot be made or written to costs the facts, never the run.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder = folder
        self._rank = rank
        self._has_folder = True
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._has_folder = False
            _log.warning("cannot make the facts folder %s: %s. Training goes on.", folder, error)
        steps, spans = folder / f"steps.rank{rank}.jsonl", folder / f"spans.rank{rank}.jsonl"
        self._steps = JsonlWriter(steps, is_told=not self._has_folder)
        self._spans = JsonlWriter(spans, is_told=not self._has_folder)

    @property
    def lost_lines(self) -> int:
        """Lines that the system refused to write."""
        return self._steps.lost_lines + self._spans.lost_lines

    def steps(self, records: Sequence[StepRecord]) -> None:
        """Appends steps."""
        self._steps.write([to_line(record) for record in records])

    def stages(self, records: Sequence[StagesRecord]) -> None:
        """Appends the stages of steps."""
        self._spans.write([to_line(record) for record in records])

    def span(self, record: SpanRecord | EventRecord) -> None:
        """Appends a span or an event."""
        self._spans.write([to_line(record)])

    def meta(self, run: RunRecord) -> None:
        """Rewrites `meta.json` whole."""
        if self._rank == 0 and self._has_folder:
            replace_file(self._folder / "meta.json", to_meta_json(run))

    def close(self) -> None:
        """Closes the files."""
        self._steps.close()
        self._spans.close()
