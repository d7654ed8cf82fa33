"""A profiler trace as the analyses see it: arrays of events by kind, with their names apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

Kind = Literal[
    "kernel", "memcpy", "memset", "device_span", "runtime", "op", "span", "python", "overhead"
]
KINDS: tuple[Kind, ...] = (
    "kernel", "memcpy", "memset", "device_span", "runtime", "op", "span", "python", "overhead",
)  # fmt: skip
"""What an event is: work of the device (the first three), a named range on its time line, a call
of the device's runtime, an operator, a named range of the program, a Python frame, the profiler's
own cost."""

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
        ("stream", "i8"),  # -1 unknown
        ("num_bytes", "f8"),  # NaN unknown
        ("blocks_per_sm", "f4"),
        ("occupancy_percent", "f4"),
    ]
)

Events: TypeAlias = "np.ndarray[Any, np.dtype[np.void]]"


def dtype_of(kind: Kind) -> np.dtype[np.void]:
    """The columns of a kind; work of the device has more."""
    return DEVICE_DTYPE if kind in DEVICE_KINDS else EVENT_DTYPE


@dataclass(frozen=True)
class Track:
    """A row of a trace viewer: a thread of the program, or a stream of a device."""

    process: str
    thread: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One rank's trace, read.

    `events` has every kind, sorted by start, longest first. Their times are ns since the first
    event of the file.
    """

    path: Path
    events: Mapping[Kind, Events]
    names: Sequence[str]
    tracks: tuple[Track, ...]
    rank: int | None = None
    world_size: int | None = None
    backend: str | None = None
    devices: tuple[Mapping[str, Any], ...] = ()
    has_stacks: bool = False
    num_events: int = 0
    num_unread: int = 0
    is_cut_short: bool = False
    notes: tuple[str, ...] = ()

    def names_of(self, events: Events) -> list[str]:
        """The name of each event."""
        return [self.names[number] for number in events["name"].tolist()]
