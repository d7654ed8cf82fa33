"""All rows of a trace by kind, put together from its pieces; large ones lie on disk.

A kind's rows go to an unnamed temporary file once they are many, and are mapped from there, so
that memory does not grow with the trace: the pages belong to the system's file cache.
"""

import tempfile
from typing import IO

import numpy as np

from diagnostics.parsers.trace_columns import MAX_TRACKS, Names, PieceRows
from diagnostics.trace import KINDS, Events, Kind, Track, dtype_of


class KindRows:
    """The rows of one kind: in memory while few, in a temporary file when many."""

    def __init__(self, kind: Kind, spill_bytes: int) -> None:
        self._dtype = dtype_of(kind)
        self._spill_bytes = spill_bytes
        self._held: list[Events] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._on_disk = 0

    def add(self, rows: Events) -> None:
        """Appends rows."""
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes > self._spill_bytes:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = _unnamed_file()
        for rows in self._held:
            rows.tofile(self._file)
            self._on_disk += len(rows)
        self._held, self._held_bytes = [], 0

    def sorted(self) -> Events:
        """All rows by start, the longer one first where two start together."""
        if self._file is None:
            rows = np.concatenate(self._held) if self._held else np.empty(0, self._dtype)
            return rows[_order(rows)]
        self._spill()
        self._file.flush()
        return self._sorted_on_disk(self._file)

    def _sorted_on_disk(self, file: IO[bytes]) -> Events:
        rows: Events = np.memmap(file, dtype=self._dtype, mode="r", shape=(self._on_disk,))
        order = _order(rows)
        target = _unnamed_file()
        step = 1 << 18
        for first in range(0, len(order), step):
            rows[order[first : first + step]].tofile(target)
        target.flush()
        return np.memmap(target, dtype=self._dtype, mode="r", shape=(self._on_disk,))


def _unnamed_file() -> IO[bytes]:
    """A file that ends with its last user; the mapping of its content is one."""
    return tempfile.TemporaryFile(prefix="trace-")


def _order(rows: Events) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    start = np.ascontiguousarray(rows["start_ns"])
    if len(start) < 2 or bool((start[1:] > start[:-1]).all()):
        return np.arange(len(start))
    return np.lexsort((-rows["end_ns"], start))


class TraceStore:
    """Takes the pieces of a trace in order."""

    def __init__(self, spill_bytes: int) -> None:
        self.num_events = 0
        self.num_bad_times = 0
        self._names = Names()
        self._tracks: dict[Track, int] = {}
        self._rows = {kind: KindRows(kind, spill_bytes) for kind in KINDS}

    @property
    def names(self) -> list[str]:
        """Every name, by its number."""
        return self._names.texts

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Every track, by its number."""
        return tuple(self._tracks)

    def add(self, piece: PieceRows) -> None:
        """Takes over a piece; its own numbers of names and tracks become the trace's."""
        self.num_events += piece.num_events
        self.num_bad_times += piece.num_bad_times
        names = np.array([self._names.number(name) for name in piece.names], np.int32)
        tracks = np.array([self._number_of(track) for track in piece.tracks], np.int32)
        for kind, rows in piece.rows.items():
            rows["name"] = names[rows["name"]]
            rows["track"] = tracks[rows["track"]]
            self._rows[kind].add(rows)

    def _number_of(self, track: Track) -> int:
        known = self._tracks.get(track)
        if known is not None:
            return known
        if len(self._tracks) >= MAX_TRACKS:
            return MAX_TRACKS - 1
        return self._tracks.setdefault(track, len(self._tracks))

    def sorted(self) -> dict[Kind, Events]:
        """Every kind's rows in order of their start."""
        return {kind: rows.sorted() for kind, rows in self._rows.items()}
