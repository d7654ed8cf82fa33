"""From the typed events of one piece of a trace to arrays: a row for each complete event.

Events live only as long as their piece. Everything here is a function of one piece and of the
trace's clock, so that pieces may be worked on by several processes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from diagnostics.parsers.trace_events import Args, Event, Number, to_number
from diagnostics.trace import (
    DEVICE_DTYPE,
    DEVICE_KINDS,
    EVENT_DTYPE,
    KINDS,
    Events,
    Kind,
    Track,
)

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

MAX_NAME = 8192
"""Characters of one name that are kept; templates of C++ reach a few thousand."""

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
        text = str(name)[:MAX_NAME]
        self._characters += len(text)
        if self._characters > MAX_NAME_CHARACTERS:
            text = _OTHER_NAMES
            if text in self._numbers:
                return self._numbers[text]
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


@dataclass(frozen=True)
class Clock:
    """The trace's own clock: its first time, and whether it counts nanoseconds."""

    origin: float
    is_in_ns: bool

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Clock | None":
        """The clock by the first event that has a time; None if none has."""
        for event in events:
            origin = to_number(event.ts)
            if math.isfinite(origin):
                return cls(origin, abs(origin) > _LARGEST_US)
        return None

    def since_origin(self, values: Sequence[Number]) -> Numbers:
        """Whole numbers are subtracted as such, so that no nanosecond is lost."""
        whole = _whole(values)
        since: Numbers = (_floats(values) if whole is None else whole) - self.origin
        return self.to_ns(since)

    def to_ns(self, times: Numbers) -> Numbers:
        """To the nanosecond."""
        return np.rint(times if self.is_in_ns else times * 1000.0)


@dataclass(frozen=True, kw_only=True)
class PieceRows:
    """The rows of one piece of a trace; names and tracks are numbered within the piece."""

    rows: Mapping[Kind, Events]
    names: Sequence[str]
    tracks: Sequence[Track]
    num_events: int
    num_bad_times: int


def rows_of(events: Sequence[Event], clock: Clock) -> PieceRows:
    """Complete events (`ph` X) that have a time, as rows by kind."""
    piece = _Piece(clock)
    piece.take(events)
    return PieceRows(
        rows=piece.rows,
        names=piece.names.texts,
        tracks=piece.tracks,
        num_events=len(events),
        num_bad_times=piece.num_bad_times,
    )


class _Piece:
    """Builds the rows of one piece."""

    def __init__(self, clock: Clock) -> None:
        self.rows: dict[Kind, Events] = {}
        self.names = Names()
        self.tracks: list[Track] = []
        self.num_bad_times = 0
        self._clock = clock
        self._track_numbers: dict[tuple[Number, Number], int] = {}
        self._kinds: dict[str | None, int] = {None: _NO_KIND}

    def take(self, events: Sequence[Event]) -> None:
        kinds = np.fromiter(map(self._kind, events), np.int8, len(events))
        chosen = np.flatnonzero(kinds != _NO_KIND)
        if not len(chosen):
            return
        kept = [events[place] for place in chosen.tolist()] if len(chosen) < len(events) else events
        self._take_kept(kept, kinds[chosen])

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

    def _take_kept(self, events: Sequence[Event], kinds: Numbers) -> None:
        start_ns = self._clock.since_origin([event.ts for event in events])
        spent_ns = self._clock.to_ns(_floats([event.dur for event in events]))
        # A time that is no number, or out of any range, would poison every sum.
        good = (np.abs(start_ns) < _MAX_NS) & (spent_ns >= 0) & (spent_ns < _MAX_NS)
        if not good.all():
            self.num_bad_times += int(len(good) - good.sum())
            places = np.flatnonzero(good)
            events, kinds = [events[place] for place in places.tolist()], kinds[good]
            start_ns, spent_ns = start_ns[good], spent_ns[good]
        rows = self._event_rows(events, start_ns, spent_ns)
        for number in np.flatnonzero(np.bincount(kinds, minlength=_NO_KIND)).tolist():
            self._add_rows(KINDS[number], np.flatnonzero(kinds == number), events, rows)

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
        self.rows[kind] = chosen

    def _track(self, pid: Number, tid: Number) -> int:
        known = self._track_numbers.get((pid, tid))
        if known is None:
            known = len(self.tracks)
            if known >= MAX_TRACKS:
                return known - 1
            self._track_numbers[pid, tid] = known
            self.tracks.append(Track(str(pid), str(tid)))
        return known


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
        return np.array([to_number(value) for value in values])


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
