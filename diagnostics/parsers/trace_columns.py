"""From the typed events of one piece of a trace to arrays: a row for each complete event.

Events live only as long as their piece. Everything here is a function of one piece and of the
trace's clock, so that pieces may be worked on by several processes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np

from diagnostics.parsers.trace_details import collectives, with_sequence, with_waits
from diagnostics.parsers.trace_events import Args, Event, Number, to_number
from diagnostics.parsers.trace_memory import DeviceKey, MemoryCourse, courses_of
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

MAX_NAMES_BYTES = 96 << 20
"""All names together; a trace that exceeds it gets one common name for the rest."""

_NAME_BYTES = 160
"""What a name costs beside its characters: an object, and its places in a table and a list."""

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
    "cuda_sync": "sync",
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


class Numbered(dict[Any, int]):
    """A number for each key, given at its first use: a table that is looked up without a call."""

    def __init__(self, give: Callable[[Any], int]) -> None:
        super().__init__()
        self._give = give

    def __missing__(self, key: Any) -> int:
        number = self._give(key)
        self[key] = number
        return number


class Names:
    """Numbers for texts, in order of their first use; bounded.

    `is_full` says that names were left out: they have the number of one common name.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.is_full = False
        self._numbers: dict[str, int] = {}
        self._num_bytes = 0

    def number(self, name: str | float | None) -> int:
        """The number of a name."""
        text = str(name)[:MAX_NAME]
        known = self._numbers.get(text)
        if known is not None:
            return known
        self._num_bytes += len(text) + _NAME_BYTES
        if self._num_bytes > MAX_NAMES_BYTES:
            self.is_full = True
            text = _OTHER_NAMES
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
        """The clock by the first complete event that has a time; None if none has.

        Markers do not count: some writers give them the time 0.
        """
        for event in events:
            origin = to_number(event.ts)
            if event.ph == "X" and math.isfinite(origin):
                return cls(origin, abs(origin) > _LARGEST_US)
        return None

    @property
    def origin_ns(self) -> int:
        """The first time to the nanosecond; 0 where it is out of any range."""
        scale = 1 if self.is_in_ns else 1000
        if abs(self.origin) * scale >= _MAX_NS:
            return 0
        whole = int(self.origin)
        # A float of so many us has no digits left for ns: the fraction is scaled by itself.
        return whole * scale + round((self.origin - whole) * scale)

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
    origin_ns: int
    """What the trace's own clock showed at time 0 of the rows."""
    memory: Mapping[DeviceKey, MemoryCourse]


def rows_of(events: Sequence[Event], clock: Clock | None) -> PieceRows:
    """Complete events (`ph` X) that have a time, as rows by kind.

    Without a clock there is none.
    """
    piece = _Piece(clock or Clock(0.0, is_in_ns=False))
    piece.take(events)
    return PieceRows(
        rows=piece.rows,
        names=piece.names.texts,
        tracks=piece.tracks,
        num_events=len(events),
        num_bad_times=piece.num_bad_times,
        origin_ns=clock.origin_ns if clock else 0,
        memory=courses_of(piece.instants, clock),
    )


class _Piece:
    """Builds the rows of one piece by columns: a call for each event would be half the cost."""

    def __init__(self, clock: Clock) -> None:
        self.rows: dict[Kind, Events] = {}
        self.names = Names()
        self.tracks: list[Track] = []
        self.num_bad_times = 0
        self.instants: list[Event] = []
        self._clock = clock
        self._name_numbers = Numbered(self.names.number)
        self._track_numbers = Numbered(self._new_track)
        self._kinds = Numbered(_kind_number)

    def take(self, events: Sequence[Event]) -> None:
        kinds = _numbers(map(self._kinds.__getitem__, map(_CAT, events)), len(events))
        phases = list(map(_PH, events))
        if phases.count("X") < len(events):
            kinds[[phase != "X" for phase in phases]] = _NO_KIND
            self.instants = list(compress(events, [phase == "i" for phase in phases]))
        events, kinds = _chosen(events, kinds, kinds != _NO_KIND)
        ts, dur = _column(_TS, events), _column(_DUR, events)
        if None in ts or None in dur:
            timed = _is_given(ts) & _is_given(dur)
            events, kinds = _chosen(events, kinds, timed)
            ts, dur = _column(_TS, events), _column(_DUR, events)
        if not len(events):
            return
        start_ns, spent_ns = self._clock.since_origin(ts), self._clock.to_ns(_floats(dur))
        # A time that is no number, or out of any range, would poison every sum.
        good = (np.abs(start_ns) < _MAX_NS) & (spent_ns >= 0) & (spent_ns < _MAX_NS)
        self.num_bad_times += int(len(good) - good.sum())
        events, kinds = _chosen(events, kinds, good)
        self._take_rows(events, kinds, start_ns[good], spent_ns[good])

    def _take_rows(
        self, events: Sequence[Event], kinds: Numbers, start_ns: Numbers, spent_ns: Numbers
    ) -> None:
        args = [args or _NO_ARGS for args in map(_ARGS, events)]
        rows = np.empty(len(events), EVENT_DTYPE)
        rows["start_ns"] = start_ns
        rows["end_ns"] = rows["start_ns"] + spent_ns.astype("i8")
        names = map(_NAME, events)
        rows["name"] = _numbers(map(self._name_numbers.__getitem__, names), len(events))
        tracks = zip(map(_PID, events), map(_TID, events), strict=True)
        rows["track"] = _numbers(map(self._track_numbers.__getitem__, tracks), len(events))
        rows["correlation"] = rows["op_id"] = _NO_ID
        for number in np.flatnonzero(np.bincount(kinds, minlength=_NO_KIND)).tolist():
            is_own = kinds == number
            self._add_rows(KINDS[number], rows[is_own], list(compress(args, is_own.tolist())))

    def _add_rows(self, kind: Kind, rows: Events, args: Sequence[Args]) -> None:
        if kind not in _WITHOUT_CORRELATION:
            rows["correlation"] = _ids(_column(_CORRELATION, args))
        if kind not in _WITHOUT_OP_ID:
            rows["op_id"] = _op_ids(args)
        if kind in ("kernel", "op"):
            self._take_collectives(collectives(rows, args, self.names.number))
        details = _WITH_DETAILS.get(kind)
        self.rows[kind] = details(rows, args) if details else rows

    def _take_collectives(self, rows: Events) -> None:
        known = self.rows.get("collective", rows[:0])
        self.rows["collective"] = np.concatenate([known, rows])

    def _new_track(self, key: tuple[Number, Number]) -> int:
        if len(self.tracks) >= MAX_TRACKS:
            return MAX_TRACKS - 1
        self.tracks.append(Track(str(key[0]), str(key[1])))
        return len(self.tracks) - 1


_NO_ID = -1
# An operator is found by its own id, a call by what it launched; to read both would be in vain.
_WITHOUT_CORRELATION: tuple[Kind, ...] = ("op", "span", "python", "overhead")
_WITHOUT_OP_ID: tuple[Kind, ...] = ("runtime", "span", "python", "overhead")

_PH, _CAT, _TS, _DUR = (attrgetter(name) for name in ("ph", "cat", "ts", "dur"))
_NAME, _PID, _TID, _ARGS = (attrgetter(name) for name in ("name", "pid", "tid", "args"))
_CORRELATION = attrgetter("correlation")
_SEQUENCE = attrgetter("sequence")
_OP_ID, _LAUNCH_OP_ID = attrgetter("op_id"), attrgetter("launch_op_id")


def _column(read: Callable[[Any], Number], values: Sequence[Any]) -> list[Number]:
    return list(map(read, values))


def _numbers(values: Iterable[int], count: int) -> Numbers:
    return np.fromiter(values, np.int32, count)


def _chosen(
    events: Sequence[Event], kinds: Numbers, keep: Numbers
) -> tuple[Sequence[Event], Numbers]:
    if keep.all():
        return events, kinds
    return [events[place] for place in np.flatnonzero(keep).tolist()], kinds[keep]


def _kind_number(cat: str | None) -> int:
    kind = None if cat is None else _KIND_OF.get(cat.lower())
    return _NO_KIND if kind is None else KINDS.index(kind)


def _op_ids(args: Sequence[Args]) -> Numbers:
    """Of a launch, its operator; else an operator's own."""
    own, launched = _column(_OP_ID, args), _column(_LAUNCH_OP_ID, args)
    if launched.count(None) == len(launched):
        return _ids(own)
    numbers = _floats(launched)
    return _whole_ids(np.where(np.isnan(numbers), _floats(own), numbers))


def _is_given(values: Sequence[Number]) -> Numbers:
    return np.fromiter((value is not None for value in values), bool, len(values))


def _with_device(events: Events, args: Sequence[Args]) -> Events:
    rows = np.empty(len(events), DEVICE_DTYPE)
    for name in EVENT_DTYPE.names or ():
        rows[name] = events[name]
    rows["device"] = _ids([each.device for each in args])
    rows["stream"] = _ids([each.stream for each in args])
    rows["num_bytes"] = _floats([each.num_bytes for each in args])
    with np.errstate(over="ignore"):  # what is too large for the column is infinite, hence unknown
        rows["blocks_per_sm"] = _floats([each.blocks_per_sm for each in args])
        rows["occupancy_percent"] = _floats([each.occupancy_percent for each in args])
    for joined_later in ("launch_track", "launch_ns", "launch_end_ns", "operator"):
        rows[joined_later] = -1
    return rows


def _with_sequence(events: Events, args: Sequence[Args]) -> Events:
    return with_sequence(events, _ids(_column(_SEQUENCE, args)))


_WITH_DETAILS: Mapping[Kind, Callable[[Events, Sequence[Args]], Events]] = {
    **dict.fromkeys(DEVICE_KINDS, _with_device),
    "op": _with_sequence,
    "sync": with_waits,
}


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
    return _whole_ids(_floats(values))


def _whole_ids(numbers: Numbers) -> Numbers:
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(numbers) < _LARGEST_ID, numbers, -1.0).astype("i8")
