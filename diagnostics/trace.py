"""A profiler trace as the analyses see it: arrays of events by kind, with their names apart."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

Kind = Literal[
    "kernel", "memcpy", "memset", "device_span", "runtime", "op", "span", "python", "overhead",
    "sync", "collective",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What an event is: work of the device (the first three), a named range on its time line, a call
of the device's runtime, an operator, a named range of the program, a Python frame, the profiler's
own cost, a wait of a stream or for one. `collective` repeats those kernels and operators that
describe an exchange between ranks."""

DEVICE_KINDS: tuple[Kind, ...] = ("kernel", "memcpy", "memset")

EVENT_DTYPE = np.dtype(
    [
        ("start_ns", "i8"),  # since the trace's first event
        ("end_ns", "i8"),
        ("name", "i4"),  # place in Trace.names
        ("track", "i4"),  # place in Trace.tracks
        ("correlation", "i8"),  # joins a launch and what it launched; -1 without
        ("op_id", "i8"),  # joins an operator and its kernels; -1 without
    ]
)
DEVICE_DTYPE = np.dtype(
    [
        *((name, EVENT_DTYPE[name].str) for name in EVENT_DTYPE.names or ()),
        ("device", "i4"),  # -1 unknown
        ("launch_track", "i4"),  # where it was launched; -1 unknown
        ("launch_ns", "i8"),  # when that call began, if it is known
        ("launch_end_ns", "i8"),
        ("stream", "i8"),  # -1 unknown
        ("num_bytes", "f8"),  # NaN unknown
        ("blocks_per_sm", "f4"),
        ("occupancy_percent", "f4"),
        ("operator", "i8"),  # the operator's name as a place in Trace.names; -1 unknown
    ]
)
OP_DTYPE = np.dtype(
    [
        *((name, EVENT_DTYPE[name].str) for name in EVENT_DTYPE.names or ()),
        ("sequence", "i8"),  # joins what led to a node of the backward and the node; -1 without
    ]
)
SYNC_DTYPE = np.dtype(
    [
        *((name, EVENT_DTYPE[name].str) for name in EVENT_DTYPE.names or ()),
        ("stream", "i8"),  # the one that waits; -1 unknown
        ("waits_for", "i8"),  # correlation of the call that set the mark it waits for; -1 unknown
        ("waits_for_stream", "i8"),  # -1 unknown
    ]
)
COLLECTIVE_DTYPE = np.dtype(
    [
        *((name, EVENT_DTYPE[name].str) for name in EVENT_DTYPE.names or ()),
        ("collective", "i4"),  # its name, a type of element, a process group: places in Trace.names
        ("dtype", "i4"),  # -1 unknown
        ("group", "i4"),  # -1 unknown
        ("group_size", "i4"),  # ranks; -1 unknown
        ("seq", "i8"),  # the group's own count of collectives; -1 unknown
        ("num_in", "f8"),  # elements; NaN unknown
        ("num_out", "f8"),
    ]
)

MEMORY_DTYPE = np.dtype(
    [
        ("time_ns", "i8"),  # where an interval begins, since the trace's first event
        ("allocated_bytes", "f8"),  # most within it; NaN unknown
        ("reserved_bytes", "f8"),
    ]
)

NAME_COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "collective": ("name", "collective", "dtype", "group"),
}
"""Columns that hold places in `Trace.names`, where these are more than `name`."""

Events: TypeAlias = "np.ndarray[Any, np.dtype[np.void]]"


def dtype_of(kind: Kind) -> np.dtype[np.void]:
    """The columns of a kind."""
    own = {"op": OP_DTYPE, "sync": SYNC_DTYPE, "collective": COLLECTIVE_DTYPE}
    return DEVICE_DTYPE if kind in DEVICE_KINDS else own.get(kind, EVENT_DTYPE)


@dataclass(frozen=True)
class Track:
    """A row of a trace viewer: a thread of the program, or a stream of a device."""

    process: str
    thread: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedMemory:
    """What PyTorch's allocator of one device said while the trace was recorded.

    `device_type` is PyTorch's own number of it: 0 is the CPU. `allocated` is what tensors held,
    `reserved` what the allocator had of the driver, in bytes; None was not said. `course` has the
    most of both in each interval of `interval_ns` that has an event (MEMORY_DTYPE).
    """

    device_type: int
    device_id: int
    num_events: int
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    interval_ns: int
    course: Events


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One rank's trace, read.

    `events` has every kind, sorted by start, longest first. Their times are ns since the first
    event of the file, at which its own clock showed `origin_ns`.
    """

    path: Path
    events: Mapping[Kind, Events]
    names: Sequence[str]
    tracks: tuple[Track, ...]
    origin_ns: int = 0
    rank: int | None = None
    world_size: int | None = None
    backend: str | None = None
    devices: tuple[Mapping[str, Any], ...] = ()
    memory: tuple[RecordedMemory, ...] = ()
    """By device; empty where the profiler was not asked for it (`profile_memory`)."""
    has_stacks: bool = False
    num_events: int = 0
    num_unread: int = 0
    is_cut_short: bool = False
    notes: tuple[str, ...] = ()
    _named: dict[re.Pattern[str], "np.ndarray[Any, np.dtype[np.int64]]"] = field(
        default_factory=dict, repr=False
    )

    @property
    def has_device(self) -> bool:
        """Whether work of a device is in the trace."""
        return any(len(self.events[kind]) for kind in DEVICE_KINDS)

    def named(self, pattern: re.Pattern[str]) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """The numbers of the names in which the pattern is found; looked for once."""
        known = self._named.get(pattern)
        if known is None:
            fits = [number for number, name in enumerate(self.names) if pattern.search(name)]
            known = self._named[pattern] = np.array(fits, np.int64)
        return known

    def names_of(self, events: Events) -> list[str]:
        """The name of each event."""
        return [self.names[number] for number in events["name"].tolist()]
