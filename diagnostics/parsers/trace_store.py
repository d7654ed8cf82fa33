"""All rows of a trace by kind, put together from its pieces; large ones lie on disk.

A kind's rows go to an unnamed temporary file once they are many, each time in order of their
start, and are merged into one more file, which is mapped. So memory does not grow with the trace:
the pages of a mapped file belong to the system's file cache.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import IO

import numpy as np

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.trace_columns import MAX_TRACKS, Names, PieceRows
from diagnostics.parsers.trace_links import link
from diagnostics.parsers.trace_memory import MemoryStore
from diagnostics.trace import KINDS, NAME_COLUMNS, Events, Kind, Track, dtype_of

MERGED_ROWS = 1 << 18
"""So many rows are in memory while those on disk are put in order: some 20 MB."""

_SORTING_THREADS = 2
"""Kinds put in order side by side: most of that lets go of the interpreter."""

_SAMPLED_ROWS = 4096
"""Of so many rows in order one is looked at to find where to cut."""


class KindRows:
    """The rows of one kind: in memory while few, on disk as runs in order when many."""

    def __init__(self, kind: Kind, spill_bytes: int) -> None:
        self._dtype = dtype_of(kind)
        self._spill_bytes = spill_bytes
        self._held: list[Events] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._run_ends = [0]

    def add(self, rows: Events) -> None:
        """Appends rows."""
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes > self._spill_bytes:
            with _on_disk():
                self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = _unnamed_file()
        rows = self._sorted_held()
        rows.tofile(self._file)
        self._run_ends.append(self._run_ends[-1] + len(rows))

    def _sorted_held(self) -> Events:
        rows = np.concatenate(self._held) if self._held else np.empty(0, self._dtype)
        self._held, self._held_bytes = [], 0
        order = _order(rows)
        return rows if order is None else rows[order]

    def sorted(self) -> Events:
        """All rows by start, the longer one first where two start together."""
        if self._file is None:
            return self._sorted_held()
        with _on_disk():
            return self._sorted_on_disk(self._file)

    def _sorted_on_disk(self, file: IO[bytes]) -> Events:
        if self._held:
            self._spill()
        file.flush()
        rows = _mapped(file, self._dtype, self._run_ends[-1])
        runs = [rows[first:end] for first, end in pairwise(self._run_ends)]
        if all(a["start_ns"][-1] < b["start_ns"][0] for a, b in pairwise(runs)):
            return rows
        target = _unnamed_file()
        for block in _merged(runs):
            block.tofile(target)
        target.flush()
        return _mapped(target, self._dtype, len(rows))


def _merged(runs: Sequence[Events]) -> Iterator[Events]:
    """Blocks of all rows in order, from runs that are each in order."""
    samples = np.sort(np.concatenate([run["start_ns"][::_SAMPLED_ROWS] for run in runs]))
    cuts = np.unique(samples[:: max(1, MERGED_ROWS // _SAMPLED_ROWS)])
    places = [
        np.concatenate([[0], np.searchsorted(run["start_ns"], cuts), [len(run)]]) for run in runs
    ]
    for number in range(len(cuts) + 1):
        parts = [
            run[place[number] : place[number + 1]] for run, place in zip(runs, places, strict=True)
        ]
        yield from _in_order(parts)


def _in_order(parts: Sequence[Events]) -> Iterator[Events]:
    parts = [part for part in parts if len(part)]
    while sum(map(len, parts)) > 4 * MERGED_ROWS:
        # More than a range has by its samples: most of them start together, in no further order.
        first = min(int(part["start_ns"][0]) for part in parts)
        ends = [int(np.searchsorted(part["start_ns"], first, side="right")) for part in parts]
        yield from (part[:end] for part, end in zip(parts, ends, strict=True))
        rest = [part[end:] for part, end in zip(parts, ends, strict=True)]
        parts = [part for part in rest if len(part)]
    if parts:
        rows = np.concatenate(parts)
        order = _order(rows)
        yield rows if order is None else rows[order]


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder, reason = tempfile.gettempdir(), error.strerror or error
        raise DiagnosticsError(
            say(
                "no room for the trace's rows in {folder}: {reason}; TMPDIR names another folder",
                folder=folder,
                reason=reason,
            )
        ) from None


def _unnamed_file() -> IO[bytes]:
    """A file that ends with its last user; the mapping of its content is one."""
    return tempfile.TemporaryFile(prefix="trace-")


def _mapped(file: IO[bytes], dtype: "np.dtype[np.void]", num_rows: int) -> Events:
    rows = np.memmap(file, dtype=dtype, mode="r+", shape=(num_rows,))
    return np.asarray(rows)  # each slice of the other class would be wrapped again


def _order(rows: Events) -> "np.ndarray[tuple[int], np.dtype[np.int64]] | None":
    """Where the rows go; None if they are in order."""
    start = np.ascontiguousarray(rows["start_ns"])
    if bool((start[1:] > start[:-1]).all()):
        return None
    return np.lexsort((-rows["end_ns"], start))


class TraceStore:
    """Takes the pieces of a trace in order."""

    def __init__(self, spill_bytes: int) -> None:
        self.num_events = 0
        self.num_bad_times = 0
        self.origin_ns = 0
        self.memory = MemoryStore()
        self._names = Names()
        self._tracks: dict[Track, int] = {}
        self._rows = {kind: KindRows(kind, spill_bytes) for kind in KINDS}

    @property
    def names(self) -> list[str]:
        """Every name, by its number."""
        return self._names.texts

    @property
    def misses_names(self) -> bool:
        """Whether there were more names than are kept."""
        return self._names.is_full

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Every track, by its number."""
        return tuple(self._tracks)

    def add(self, piece: PieceRows) -> None:
        """Takes over a piece; its own numbers of names and tracks become the trace's."""
        self.num_events += piece.num_events
        self.num_bad_times += piece.num_bad_times
        self.origin_ns = piece.origin_ns
        self.memory.add(piece.memory)
        names = _places(map(self._names.number, piece.names), len(piece.names))
        tracks = _places(map(self._number_of, piece.tracks), len(piece.tracks))
        for kind, rows in piece.rows.items():
            for column in NAME_COLUMNS.get(kind, ("name",)):
                is_known = rows[column] >= 0
                rows[column][is_known] = names[rows[column][is_known]]
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
        """Every kind's rows in order of their start, work of the device joined to its launch."""
        with ThreadPoolExecutor(_SORTING_THREADS) as pool:
            found = pool.map(KindRows.sorted, self._rows.values())
            events = dict(zip(self._rows, found, strict=True))
        link(events)
        for rows in events.values():
            rows.flags.writeable = False
        return events


def _places(numbers: Iterable[int], count: int) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.fromiter(numbers, np.int32, count)
