"""Memory of devices by the `[memory]` instants of a trace: maxima, and a course of bounded length.

The profiler writes one instant for each allocation and each free, with the totals after it. Of a
piece only maxima are kept, those of equal intervals of time; where these are too many, two at a
time become one. So the result is the same whatever pieces the trace was cut into.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from diagnostics.parsers.trace_events import Args, Event, Number, to_number
from diagnostics.trace import MEMORY_DTYPE, RecordedMemory

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
DeviceKey: TypeAlias = tuple[int, int]
"""Type and number of a device, as PyTorch counts them."""

MEMORY_EVENT = "[memory]"
MAX_DEVICES = 64
"""More than this have no memory in one process; a hostile trace's further ones are left out."""
MAX_POINTS = 256
"""Intervals of a course."""

_MAX_BYTES = float(1 << 50)
"""A total beyond it (1 PiB) is no amount of memory."""
_MAX_TIME_NS = 4e18
_MAX_TYPE, _MAX_ID = 255, 4095
_UNKNOWN_ID = -1


class ReadsTimes(Protocol):
    """A trace's own clock."""

    def since_origin(self, values: Sequence[Number]) -> Numbers:
        """Times in ns since the trace's first event."""
        ...


def _no_peaks() -> Numbers:
    return np.full(2, np.nan)


def _no_maxima() -> Numbers:
    return np.empty((0, 2))


def _no_places() -> Numbers:
    return np.empty(0, np.int64)


@dataclass
class MemoryCourse:
    """One device: allocated and reserved bytes, NaN where they were not said.

    `places` are numbers of intervals of `1 << shift` ns, in order; `maxima` has a row for each.
    An instant without a usable time counts for `peaks` alone.
    """

    num_events: int = 0
    peaks: Numbers = field(default_factory=_no_peaks)
    shift: int = 0
    places: Numbers = field(default_factory=_no_places)
    maxima: Numbers = field(default_factory=_no_maxima)

    @classmethod
    def of(cls, times_ns: Numbers, totals: Numbers) -> "MemoryCourse":
        """The course of some instants.

        Args:
            times_ns: NaN where unknown.
            totals: A row for each: allocated and reserved bytes.
        """
        is_timed = np.abs(times_ns) < _MAX_TIME_NS
        peaks = np.fmax.reduce(totals, axis=0) if len(totals) else _no_peaks()
        course = cls(num_events=len(totals), peaks=peaks)
        course._hold(times_ns[is_timed].astype(np.int64), totals[is_timed])
        return course

    def add(self, other: "MemoryCourse") -> None:
        """Takes over what another piece says of the device."""
        shift = max(self.shift, other.shift)
        places = [self.places >> shift - self.shift, other.places >> shift - other.shift]
        self.num_events += other.num_events
        self.peaks = np.fmax(self.peaks, other.peaks)
        self.shift = shift
        self._hold(np.concatenate(places), np.concatenate([self.maxima, other.maxima]))

    def _hold(self, places: Numbers, maxima: Numbers) -> None:
        """Joins rows of one interval, after widening the intervals until they are few."""
        order = np.argsort(places, kind="stable")
        places = places[order]
        while (begins := _begins(places)).sum() > MAX_POINTS:
            places = places >> 1
            self.shift += 1
        starts = np.flatnonzero(begins)
        self.places = places[starts]
        self.maxima = (
            np.fmax.reduceat(maxima[order], starts, axis=0) if len(starts) else _no_maxima()
        )

    def recorded(self, key: DeviceKey) -> RecordedMemory:
        """As the analyses see it."""
        course = np.empty(len(self.places), MEMORY_DTYPE)
        course["time_ns"] = self.places << self.shift
        course["allocated_bytes"], course["reserved_bytes"] = self.maxima.T
        course.flags.writeable = False
        allocated, reserved = (_whole(value) for value in self.peaks.tolist())
        return RecordedMemory(
            device_type=key[0],
            device_id=key[1],
            num_events=self.num_events,
            peak_allocated_bytes=allocated,
            peak_reserved_bytes=reserved,
            interval_ns=1 << self.shift,
            course=course,
        )


class MemoryStore:
    """Puts the courses of all pieces of a trace together; `is_full` says that some were left out.

    The courses of a piece are taken over as they are.
    """

    def __init__(self) -> None:
        self.is_full = False
        self._courses: dict[DeviceKey, MemoryCourse] = {}

    def add(self, courses: Mapping[DeviceKey, MemoryCourse]) -> None:
        """Takes over what a piece says."""
        for key, course in courses.items():
            if key in self._courses:
                self._courses[key].add(course)
            elif len(self._courses) < MAX_DEVICES:
                self._courses[key] = course
            else:
                self.is_full = True

    def recorded(self) -> tuple[RecordedMemory, ...]:
        """Every device, by type and number."""
        return tuple(self._courses[key].recorded(key) for key in sorted(self._courses))


def courses_of(events: Sequence[Event], clock: ReadsTimes | None) -> dict[DeviceKey, MemoryCourse]:
    """What the instants among some events say of each device; other events are passed over.

    Args:
        events: Of one piece.
        clock: None where the trace's clock is not known: then no instant has a place in time.
    """
    found = [event for event in events if event.name == MEMORY_EVENT and event.args is not None]
    if not found:
        return {}
    args = [event.args for event in found if event.args is not None]
    devices = _devices(args)
    times = [event.ts for event in found]
    times_ns = np.full(len(found), np.nan) if clock is None else clock.since_origin(times)
    totals = np.stack(
        [
            _bytes([each.total_allocated for each in args]),
            _bytes([each.total_reserved for each in args]),
        ],
        axis=1,
    )
    # One more than is kept, so that the store sees that there were more.
    known = np.unique(devices[devices >= 0])[: MAX_DEVICES + 1].tolist()
    return {
        _key(code): MemoryCourse.of(times_ns[devices == code], totals[devices == code])
        for code in known
    }


def _devices(args: Sequence[Args]) -> Numbers:
    """A number for each device; -1 where the type is not one."""
    kinds = _floats([each.device_type for each in args])
    numbers = np.nan_to_num(_floats([each.device_id for each in args]), nan=_UNKNOWN_ID)
    is_known = _is_whole(kinds, 0, _MAX_TYPE) & _is_whole(numbers, _UNKNOWN_ID, _MAX_ID)
    codes = kinds * (_MAX_ID + 2) + numbers - _UNKNOWN_ID
    return np.where(is_known, codes, -1.0).astype(np.int64)


def _key(code: int) -> DeviceKey:
    kind, number = divmod(code, _MAX_ID + 2)
    return kind, number + _UNKNOWN_ID


def _is_whole(values: Numbers, least: int, most: int) -> Numbers:
    with np.errstate(invalid="ignore"):
        found: Numbers = (values >= least) & (values <= most) & (values == np.rint(values))
    return found


def _bytes(values: Sequence[Number]) -> Numbers:
    numbers = _floats(values)
    with np.errstate(invalid="ignore"):
        return np.where((numbers >= 0) & (numbers < _MAX_BYTES), numbers, np.nan)


def _floats(values: Sequence[Number]) -> Numbers:
    try:
        return np.array(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        return np.array([to_number(value) for value in values], np.float64)


def _begins(places: Numbers) -> Numbers:
    """Where another interval begins."""
    begins = np.ones(len(places), bool)
    begins[1:] = places[1:] != places[:-1]
    return begins


def _whole(value: float) -> int | None:
    return None if np.isnan(value) else int(value)
