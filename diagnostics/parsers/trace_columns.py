"""Columns of a trace's events by kind, filled piece by piece; large ones lie on disk.

A kind's rows go to an unnamed temporary file once they are many, and are mapped from there, so
that memory does not grow with the trace: the pages belong to the system's file cache.
"""

import tempfile
from collections.abc import Sequence
from typing import IO, Any, TypeAlias

import numpy as np

from diagnostics.parsers.trace_events import Args, Event, Number, to_float
from diagnostics.trace import (
    DEVICE_DTYPE,
    DEVICE_KINDS,
    EVENT_DTYPE,
    KINDS,
    Events,
    Kind,
    Track,
    dtype_of,
)

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

MAX_NAME_CHARACTERS = 64 << 20
"""All names together; a trace that exceeds it gets one common name for the rest."""

_KIND_OF = {
    "kernel": "kernel",
    "gpu_memcpy": "memcpy",
    "memcpy": "memcpy",
    "gpu_memset": "memset",
    "memset": "memset",
    "gpu_user_annotation": "device_span",
    "cuda_runtime": "runtime",
    "cuda_driver": "runtime",
    "hip_runtime": "runtime",
    "xpu_runtime": "runtime",
    "runtime": "runtime",
    "cpu_op": "op",
    "operator": "op",
    "user_annotation": "span",
    "python_function": "python",
    "overhead": "overhead",
}
_OTHER_NAMES = "(names beyond the bound)"
_NO_KIND = len(KINDS)
_NO_ARGS = Args()
_LARGEST_US = 1e17
"""Microseconds since the epoch are some 1.8e15; anything beyond this is in nanoseconds."""
_MAX_NS = 4e18
_LARGEST_ID = float(1 << 53)
MAX_TRACKS = 1 << 16
"""Threads and streams told apart; a hostile trace's further ones count as the last."""


class Names:
    """Numbers for texts, in order of their first use; bounded."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str | float | None, int] = {}
        self._characters = 0

    def number(self, name: str | float | None) -> int:
        """The number of a name."""
        known = self._numbers.get(name)
        if known is not None:
            return known
        text = str(name)
        self._characters += len(text)
        if self._characters > MAX_NAME_CHARACTERS:
            text = _OTHER_NAMES
            if text in self._numbers:
                return self._numbers[text]
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


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


class TraceColumns:
    """Everything that the pieces of a trace add up to."""

    def __init__(self, spill_bytes: int) -> None:
        self.names = Names()
        self.tracks: list[Track] = []
        self.has_origin = False
        self.is_in_ns = False
        self.num_ignored = 0
        self.num_bad_times = 0
        self._origin: float = 0
        self._rows = {kind: KindRows(kind, spill_bytes) for kind in KINDS}
        self._track_numbers: dict[tuple[Number, Number], int] = {}
        self._kinds: dict[str | None, int] = {None: _NO_KIND}

    def add(self, events: Sequence[Event]) -> None:
        """Takes over complete events (`ph` X) that have a time; the others are counted."""
        kinds = np.fromiter(map(self._kind, events), np.int8, len(events))
        chosen = np.flatnonzero(kinds != _NO_KIND)
        self.num_ignored += len(events) - len(chosen)
        if not len(chosen):
            return
        kept = [events[place] for place in chosen.tolist()] if len(chosen) < len(events) else events
        self._add_kept(kept, kinds[chosen])

    def _kind(self, event: Event) -> int:
        if event.ph != "X" or event.ts is None or event.dur is None:
            return _NO_KIND
        cat = event.cat
        known = self._kinds.get(cat)
        if known is None:
            kind = _KIND_OF.get(str(cat).lower())
            known = _NO_KIND if kind is None else KINDS.index(kind)
            self._kinds[cat] = known
        return known

    def _add_kept(self, events: Sequence[Event], kinds: Numbers) -> None:
        start = self._since_origin([event.ts for event in events])
        start_ns = self._to_ns(start)
        spent_ns = self._to_ns(_floats([event.dur for event in events]))
        # A time that is no number, or out of any range, would poison every sum.
        good = (np.abs(start_ns) < _MAX_NS) & (spent_ns >= 0) & (spent_ns < _MAX_NS)
        if not good.all():
            self.num_bad_times += int(len(good) - good.sum())
            places = np.flatnonzero(good)
            events, kinds = [events[place] for place in places.tolist()], kinds[good]
            start_ns, spent_ns = start_ns[good], spent_ns[good]
        rows = self._event_rows(events, start_ns, spent_ns)
        for number in np.unique(kinds).tolist():
            self._add_rows(KINDS[number], np.flatnonzero(kinds == number), events, rows)

    def _since_origin(self, values: Sequence[Number]) -> Numbers:
        """Times since the first one; whole numbers are subtracted as such, so that none is lost."""
        whole = _whole(values)
        start = _floats(values) if whole is None else whole
        if not self.has_origin:
            finite = start[np.isfinite(start)]
            if not len(finite):
                return start
            self.has_origin, self._origin = True, finite[0].item()
            self.is_in_ns = abs(self._origin) > _LARGEST_US
        since: Numbers = start - self._origin
        return since

    def _to_ns(self, times: Numbers) -> Numbers:
        return np.rint(times if self.is_in_ns else times * 1000.0)

    def _event_rows(self, events: Sequence[Event], start_ns: Numbers, spent_ns: Numbers) -> Events:
        rows = np.empty(len(events), EVENT_DTYPE)
        rows["start_ns"] = start_ns
        rows["end_ns"] = rows["start_ns"] + spent_ns.astype("i8")
        number, track = self.names.number, self._track
        rows["name"] = [number(event.name) for event in events]
        rows["track"] = [track(event.pid, event.tid) for event in events]
        found = [event.args or _NO_ARGS for event in events]
        rows["correlation"] = _ids([args.correlation for args in found])
        own = [args.op_id if args.launch_op_id is None else args.launch_op_id for args in found]
        rows["op_id"] = _ids(own)
        return rows

    def _add_rows(self, kind: Kind, places: Numbers, events: Sequence[Event], rows: Events) -> None:
        chosen = rows[places]
        if kind in DEVICE_KINDS:
            found = [events[place].args or _NO_ARGS for place in places.tolist()]
            chosen = _with_device(chosen, found)
        self._rows[kind].add(chosen)

    def _track(self, pid: Number, tid: Number) -> int:
        known = self._track_numbers.get((pid, tid))
        if known is None:
            known = len(self.tracks)
            if known >= MAX_TRACKS:
                return known - 1
            self._track_numbers[pid, tid] = known
            self.tracks.append(Track(str(pid), str(tid)))
        return known

    def sorted(self) -> dict[Kind, Events]:
        """Every kind's rows in order of their start."""
        return {kind: rows.sorted() for kind, rows in self._rows.items()}


def _with_device(common: Events, found: Sequence[Args]) -> Events:
    rows = np.empty(len(common), DEVICE_DTYPE)
    for name in EVENT_DTYPE.names or ():
        rows[name] = common[name]
    rows["device"] = _ids([args.device for args in found])
    rows["stream"] = _ids([args.stream for args in found])
    rows["num_bytes"] = _floats([args.num_bytes for args in found])
    rows["blocks_per_sm"] = _floats([args.blocks_per_sm for args in found])
    rows["occupancy_percent"] = _floats([args.occupancy_percent for args in found])
    return rows


def _floats(values: Sequence[Number]) -> Numbers:
    """As floats; what is missing or no number is NaN."""
    try:
        return np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return np.array([to_float(value) for value in values])


def _whole(values: Sequence[Number]) -> "Numbers | None":
    """As whole numbers, if all of them are."""
    try:
        found = np.array(values)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.dtype == np.int64 else None


def _ids(values: Sequence[Number]) -> Numbers:
    """As whole numbers; what is missing, no number or too large is -1."""
    numbers = _floats(values)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(numbers) < _LARGEST_ID, numbers, -1.0).astype("i8")
