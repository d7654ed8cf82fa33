"""Reads the traces of a run within one bound of memory, with the same processes for all of them.

One trace is read at a time, by all processes together; so memory does not grow with the number of
ranks, and one long trace takes as little time as several short ones of its size.
"""

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from diagnostics.parsers.trace_file import SPILL_BYTES, parse_trace
from diagnostics.parsers.trace_pieces import Workers
from diagnostics.trace import Trace

LONG_BYTES = 64 << 20
"""Traces of this length together are read by several processes: starting them takes some 0.3 s."""

PACKED_RATIO = 16
"""What a compressed trace is taken to unpack to."""

MAX_PROCESSES = 4
"""More than this wait for the one that cuts the text and puts the rows together."""

HELD_BYTES, SMALL_SPILL_BYTES = 64 << 20, 64 << 10
"""Rows of all traces that stay in memory; beyond them a kind's rows go to disk much sooner."""


class TraceReader:
    """Reads traces one after the other; a context manager, which ends the processes.

    Args:
        expected: Paths that will be read, as far as they are known.
    """

    def __init__(self, expected: Iterable[Path] = ()) -> None:
        self._expected_bytes = sum(map(_estimated_bytes, expected))
        self._seen_bytes = 0
        self._held_bytes = 0
        self._pool: ProcessPoolExecutor | None = None

    def read(self, path: Path) -> Trace:
        """One trace, whole or cut short.

        Raises:
            DiagnosticsError: it cannot be read or is no trace; one line.
        """
        self._seen_bytes += _estimated_bytes(path)
        spill_bytes = SPILL_BYTES if self._held_bytes < HELD_BYTES else SMALL_SPILL_BYTES
        trace = parse_trace(path, spill_bytes, self._workers())
        self._held_bytes += sum(rows.nbytes for rows in trace.events.values() if rows.flags.owndata)
        return trace

    def _workers(self) -> Workers | None:
        if max(self._seen_bytes, self._expected_bytes) < LONG_BYTES:
            return None
        count = min(len(os.sched_getaffinity(0)), MAX_PROCESSES)
        if self._pool is None and count > 1:
            # Forking would copy locks of threads that this process may have.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(count, context)
        return None if self._pool is None else Workers(self._pool, count)

    def __enter__(self) -> "TraceReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _estimated_bytes(path: Path) -> int:
    """The length of the text; 0 for what is no trace by its name, or cannot be looked at."""
    ratio = {".json": 1, ".gz": PACKED_RATIO}.get(path.suffix, 0)
    with suppress(OSError, ValueError):
        return path.stat().st_size * ratio
    return 0
