"""What a thread of the program was doing at each moment, in the order in which causes count."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_names import DATA_LOADING, RANGE
from diagnostics.analyses.trace_rows import chunks, cover, joined, sliced
from diagnostics.trace import Events, Kind, Trace

Cause = Literal[
    "data_loading", "synchronisation", "copy", "allocator", "garbage_collection", "profiler",
    "launching", "python", "unattributed",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = get_args(Cause)

_PATTERNS: Mapping[Cause, re.Pattern[str]] = {
    "data_loading": DATA_LOADING,
    "synchronisation": re.compile(
        r"^(cuda|hip|cu)(Device|Stream|Event|Ctx)Synchronize|^aten::(item|_local_scalar_dense)$"
        r"|^aten::is_nonzero$|^aten::nonzero$|^aten::equal$"
    ),
    "copy": re.compile(r"^(cuda|hip)Memcpy|^cuMemcpy|^h2d$"),
    "allocator": re.compile(
        r"^(cuda|hip)(Malloc|Free|HostAlloc|HostRegister|MallocAsync|FreeAsync|MallocHost)"
        r"|^cuMem(Create|Map|Unmap|AddressReserve|Release)"
    ),
    "garbage_collection": re.compile(
        r"^gc(\.py)?\b.*collect|<built-in function collect>|^gc$|^Python GC"
    ),
}
_HOST_KINDS: tuple[Kind, ...] = ("op", "span", "runtime", "python")


@dataclass(frozen=True, eq=False)
class HostThread:
    """When one thread was doing what; later causes count only where no earlier one does.

    `launching` covers operators and runtime calls, `python` also the program's ranges and frames.
    """

    track: int
    sets: Mapping[Cause, Intervals]

    def split(self, times: Intervals) -> dict[Cause, Intervals]:
        """The times by what the thread was doing; the parts sum to the times."""
        found: dict[Cause, list[Intervals]] = {cause: [] for cause in CAUSES}
        for part, *sets in sliced([times, *self.sets.values()]):
            line = Timeline.of([part, *sets])
            free = line.covered(0)
            for number, cause in enumerate(self.sets, 1):
                claim = line.covered(number)
                found[cause].append(line.where(free & claim))
                free &= ~claim
            found["unattributed"].append(line.where(free))
        parts = {cause: joined(*each) for cause, each in found.items()}
        return {cause: part for cause, part in parts.items() if len(part)}


@dataclass(eq=False)
class HostThreads:
    """The threads of a trace, each read when it is first asked for."""

    trace: Trace
    _threads: dict[int, HostThread] = field(default_factory=dict)

    def on(self, track: int) -> HostThread:
        """What the thread of a track was doing."""
        if track not in self._threads:
            self._threads[track] = _read(self.trace, track)
        return self._threads[track]


def _read(trace: Trace, track: int) -> HostThread:
    covers: dict[Cause, list[Intervals]] = {cause: [] for cause in CAUSES[:-1]}
    bits, range_bit = _bits_of_names(trace), 1 << len(_PATTERNS)
    for kind in _HOST_KINDS:
        for rows in _on(trace.events[kind], track):
            start, end, flags = rows["start_ns"], rows["end_ns"], bits[rows["name"]]
            covers["python"].append(union(start, end))
            if kind in {"op", "runtime"}:
                is_call = flags & range_bit == 0
                covers["launching"].append(union(start[is_call], end[is_call]))
            for place, cause in enumerate(_PATTERNS):
                own = np.flatnonzero(flags & (1 << place))
                covers[cause].append(union(start[own], end[own]))
    covers["profiler"] = [cover(rows) for rows in _on(trace.events["overhead"], track)]
    return HostThread(track, {cause: joined(*each) for cause, each in covers.items()})


def _bits_of_names(trace: Trace) -> Array:
    """For each name the causes that it fits, as bits, and one more for ranges."""
    bits = np.zeros(len(trace.names) + 1, np.uint8)  # what has no name goes to the last place
    for place, pattern in enumerate([*_PATTERNS.values(), RANGE]):
        bits[trace.named(pattern)] |= 1 << place
    return bits


def _on(rows: Events, track: int) -> Iterator[Events]:
    for chunk in chunks(rows):
        own = chunk[chunk["track"] == track]
        if len(own):
            yield own
