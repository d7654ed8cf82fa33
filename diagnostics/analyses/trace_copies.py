"""Copies to, from and on the device: how much, how fast, and out of which memory.

CUPTI names a copy after both of its ends, `Memcpy HtoD (Pageable -> Device)`. One that leaves
pageable memory is first staged into pinned memory by the driver, which costs the copying thread
time and cannot overlap; the name is the only place where a trace says so.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals
from diagnostics.analyses.trace_rows import begins_in, covered_by_rows_ns, has_name
from diagnostics.trace import Events, Trace

Direction = Literal["to_device", "from_device", "on_device", "between_devices", "on_host", "other"]
Memory = Literal["pageable", "pinned"]

_KIND = re.compile(r"\b([HD](?:to|2)[HD]|P(?:to|2)P)\b|((?:Host|Device)To(?:Host|Device))")
_ENDS = re.compile(r"\(\s*(\w+)\s*->\s*(\w+)\s*\)")
_DIRECTIONS: dict[str, Direction] = {
    "htod": "to_device",
    "dtoh": "from_device",
    "dtod": "on_device",
    "ptop": "between_devices",
    "htoh": "on_host",
    "hosttodevice": "to_device",
    "devicetohost": "from_device",
    "devicetodevice": "on_device",
}


@dataclass(frozen=True, kw_only=True)
class CopyUse:
    """All copies of one direction and kind of host memory that begin in the window.

    `memory` is that of the host's end; None for copies without one, or where it is not said.
    `ns` is the sum of their times, `exposed_ns` the part of it during which no kernel ran;
    `gb_per_s` are 1e9 bytes a second while copying, over the `num_sized` copies whose size is
    known; None without one.
    """

    direction: Direction
    memory: Memory | None
    count: int
    ns: int
    exposed_ns: int
    share_of_window: float
    num_bytes: float | None
    num_sized: int
    gb_per_s: float | None


def use_of_copies(trace: Trace, window: Intervals) -> tuple[CopyUse, ...]:
    """The copies of the window by direction and memory, longest first; empty without any."""
    copies = trace.events["memcpy"]
    copies = copies[begins_in(copies, window)]
    if not len(copies) or not window.total_ns:
        return ()
    hidden = covered_by_rows_ns(copies["start_ns"], copies["end_ns"], trace.events["kernel"])
    groups: dict[tuple[Direction, Memory | None], list[int]] = {}
    for number in np.unique(copies["name"]).tolist():
        groups.setdefault(_ends_of(trace.names[number]), []).append(number)
    found = []
    for ends, names in groups.items():
        own = has_name(copies, np.array(names))
        found.append(_use(*ends, copies[own], hidden[own], window))
    return tuple(sorted(found, key=lambda each: (-each.ns, each.direction)))


def _ends_of(name: str) -> tuple[Direction, Memory | None]:
    kind = _KIND.search(name)
    spelled = kind[kind.lastindex or 0].lower().replace("2", "to") if kind else ""
    return _DIRECTIONS.get(spelled, "other"), next(_memories(name), None)


def _memories(name: str) -> Iterator[Memory]:
    ends = _ENDS.search(name)
    for end in ends.groups() if ends else ():
        if end.lower() in {"pageable", "paged"}:
            yield "pageable"
        elif end.lower() == "pinned":
            yield "pinned"


def _use(
    direction: Direction,
    memory: Memory | None,
    copies: Events,
    hidden: Array,
    window: Intervals,
) -> CopyUse:
    lengths = copies["end_ns"] - copies["start_ns"]
    total = int(lengths.sum())
    is_sized = np.isfinite(copies["num_bytes"])
    num_bytes = float(copies["num_bytes"][is_sized].sum()) if is_sized.any() else None
    return CopyUse(
        direction=direction,
        memory=memory,
        count=len(copies),
        ns=total,
        exposed_ns=total - int(hidden.sum()),
        share_of_window=total / window.total_ns,
        num_bytes=num_bytes,
        num_sized=int(is_sized.sum()),
        gb_per_s=_speed(num_bytes, lengths[is_sized]),
    )


def _speed(num_bytes: float | None, lengths_ns: Array) -> float | None:
    """Bytes per ns are 1e9 bytes per s."""
    spent = int(lengths_ns.sum())
    return num_bytes / spent if num_bytes is not None and spent else None
