"""Every moment in which the device is idle, charged to what the launching thread was doing.

The thread that launched the next work is the one that kept the device waiting (after Holistic
Trace Analysis' `host_wait`, which stops there). What it did in the gap says why.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_launches import UNKNOWN, find_launches
from diagnostics.analyses.trace_names import DATA_LOADING
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import DEVICE_KINDS, Events, Kind, Trace

Cause = Literal[
    "data_loading", "synchronisation", "copy", "allocator", "garbage_collection", "profiler",
    "launching", "python", "unattributed",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = (
    "data_loading", "synchronisation", "copy", "allocator", "garbage_collection", "profiler",
    "launching", "python", "unattributed",
)  # fmt: skip

MAX_LAUNCHING_TRACKS = 256
"""A process launches from a few threads; each one takes a pass over all events of the host."""

_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "data_loading": DATA_LOADING,
    "synchronisation": re.compile(
        r"^(cuda|hip|cu)(Device|Stream|Event|Ctx)Synchronize|^aten::(item|_local_scalar_dense)$"
        r"|^(cuda|hip)StreamWaitEvent|^aten::is_nonzero$|^aten::nonzero$"
    ),
    "copy": re.compile(r"^(cuda|hip)Memcpy|^cuMemcpy|^h2d$"),
    "allocator": re.compile(
        r"^(cuda|hip)(Malloc|Free|HostAlloc|HostRegister|MallocAsync|FreeAsync|MallocHost)"
        r"|^cuMem(Create|Map|Unmap|AddressReserve|Release)"
    ),
    "garbage_collection": re.compile(r"^gc(\.py)?\b.*collect|<built-in function collect>|^gc$"),
}


@dataclass(frozen=True, kw_only=True)
class IdleCause:
    """Idle time of one cause over the window; `where` names the frame behind most of it."""

    cause: Cause
    ns: int
    ms_per_step: float
    share_of_window: float
    num_gaps: int
    where: str | None = None


def find_idle_causes(trace: Trace, steps: TraceSteps) -> tuple[IdleCause, ...]:
    """The causes of all idle time in the window, heaviest first; they sum to it.

    Empty where there is no step, or no work of a device.
    """
    window = steps.window
    busy = [trace.events[kind] for kind in DEVICE_KINDS]
    start = np.concatenate([each["start_ns"] for each in busy])
    end = np.concatenate([each["end_ns"] for each in busy])
    if not window.total_ns or not len(start):
        return ()
    line = Timeline.of([window, union(start, end)])
    gaps = line.where(line.covered(0) & ~line.covered(1))
    spent, counts, frames = _blame(trace, gaps)
    found = [
        IdleCause(
            cause=cause,
            ns=spent[cause],
            ms_per_step=spent[cause] / 1e6 / len(steps),
            share_of_window=spent[cause] / window.total_ns,
            num_gaps=counts[cause],
            where=frames.get(cause),
        )
        for cause in CAUSES
        if spent[cause]
    ]
    return tuple(sorted(found, key=lambda each: -each.ns))


def _blame(
    trace: Trace, gaps: Intervals
) -> tuple[dict[Cause, int], dict[Cause, int], dict[Cause, str]]:
    spent: dict[Cause, int] = dict.fromkeys(CAUSES, 0)
    counts: dict[Cause, int] = dict.fromkeys(CAUSES, 0)
    frames: dict[Cause, str] = {}
    heaviest: dict[Cause, int] = dict.fromkeys(CAUSES, 0)
    track = _launching_track(trace, gaps)
    judged = _waited_most(track, gaps)
    track = np.where(np.isin(track, judged), track, UNKNOWN)
    for number in np.unique(track).tolist():
        own = Intervals(gaps.start[track == number], gaps.end[track == number])
        if number == UNKNOWN:
            spent["unattributed"] += own.total_ns
            counts["unattributed"] += len(own)
            continue
        for cause, part in _causes_on(trace, number, own).items():
            spent[cause] += part.total_ns
            counts[cause] += _num_touched(own, part)
            named = _heaviest_frame(trace, number, part)
            if named is not None and named[1] > heaviest[cause]:
                frames[cause], heaviest[cause] = named
    return spent, counts, frames


def _launching_track(trace: Trace, gaps: Intervals) -> Array:
    """For each gap the track that launched the work which ended it; -1 where it is not known."""
    starts, tracks = [], []
    for kind in DEVICE_KINDS:
        work = trace.events[kind]
        launches = find_launches(trace, work)
        starts.append(work["start_ns"][launches.is_known])
        tracks.append(launches.track[launches.is_known])
    start, track = np.concatenate(starts), np.concatenate(tracks)
    if not len(start):
        return np.full(len(gaps), -1)
    order = np.argsort(start, kind="stable")
    # After the last work of the trace the thread that launched it is the best guess.
    place = np.minimum(np.searchsorted(start[order], gaps.end), len(start) - 1)
    chosen: Array = track[order][place]
    return chosen


def _waited_most(track: Array, gaps: Intervals) -> Array:
    """The launching threads behind the longest gaps, at most `MAX_LAUNCHING_TRACKS`."""
    known = np.flatnonzero(track >= 0)
    numbers, place = np.unique(track[known], return_inverse=True)
    spent = np.bincount(place, weights=(gaps.end - gaps.start)[known], minlength=len(numbers))
    chosen: Array = numbers[np.argsort(-spent, kind="stable")[:MAX_LAUNCHING_TRACKS]]
    return chosen


def _causes_on(trace: Trace, track: int, gaps: Intervals) -> dict[Cause, Intervals]:
    """The gaps cut by what the thread was doing; the parts sum to the gaps."""
    host = {kind: _on(trace.events[kind], track) for kind in _HOST_KINDS}
    sets = [_matching(trace, host, pattern) for pattern in _PATTERNS.values()]
    busy = [host["op"], host["runtime"]]
    known = [*busy, host["span"], host["python"]]
    line = Timeline.of([gaps, *sets, _cover([host["overhead"]]), _cover(busy), _cover(known)])
    free = line.covered(0)
    claims = [line.covered(1 + number) for number in range(len(sets) + 3)]
    parts: dict[Cause, Intervals] = {}
    for cause, claim in zip(CAUSES, [*claims, np.ones_like(free)], strict=True):
        parts[cause] = line.where(free & claim)
        free &= ~claim
    return {cause: part for cause, part in parts.items() if part.total_ns}


_HOST_KINDS: tuple[Kind, ...] = ("op", "span", "runtime", "python", "overhead")


def _on(events: Events, track: int) -> Events:
    own: Events = events[events["track"] == track]
    return own


def _matching(trace: Trace, host: Mapping[Kind, Events], pattern: re.Pattern[str]) -> Intervals:
    fits = trace.named(pattern)
    return _cover([events[np.isin(events["name"], fits)] for events in host.values()])


def _cover(groups: list[Events]) -> Intervals:
    return union(
        np.concatenate([each["start_ns"] for each in groups]),
        np.concatenate([each["end_ns"] for each in groups]),
    )


def _num_touched(gaps: Intervals, part: Intervals) -> int:
    """In how many gaps the part lies."""
    return len(np.unique(np.searchsorted(gaps.start, part.start, side="right")))


_FRAME = re.compile(r"^(?P<file>[^<>]+\.py)\((?P<line>\d+)\): (?P<function>.+)$")
_LIBRARY = re.compile(r"(^|/)(site-packages|dist-packages|torch|lib/python[\d.]+)/")


def _heaviest_frame(trace: Trace, track: int, part: Intervals) -> tuple[str, int] | None:
    """The frame of the user's own code that covers most of the part, as `file:line function`."""
    frames = _on(trace.events["python"], track)
    if not len(frames) or not len(part):
        return None
    names, place = np.unique(frames["name"], return_inverse=True)
    covered = np.bincount(place, weights=_covered_ns(frames, part))
    lengths = np.bincount(place, weights=frames["end_ns"] - frames["start_ns"])
    own = np.array([_is_own(trace.names[name]) for name in names.tolist()])
    listed = own if own.any() else np.ones(len(names), bool)
    # The callers of a frame cover at least as much: the tightest one that explains half is meant.
    heavy = np.flatnonzero(listed & (2 * covered >= covered[listed].max()) & (covered > 0))
    if not len(heavy):
        return None
    best = heavy[np.lexsort((-covered[heavy], lengths[heavy]))[0]]
    return _readable(trace.names[names[best]]), int(covered[best])


def _covered_ns(frames: Events, part: Intervals) -> Array:
    """How much of each frame lies in the part."""
    before = np.concatenate([[0], np.cumsum(part.end - part.start)])

    def until(at_ns: Array) -> Array:
        place = np.searchsorted(part.start, at_ns, side="right")
        inside = np.where(
            place > 0, np.minimum(at_ns, part.end[place - 1]) - part.start[place - 1], 0
        )
        whole: Array = before[np.maximum(place - 1, 0)] + np.where(place > 0, inside, 0)
        return whole

    length: Array = until(frames["end_ns"]) - until(frames["start_ns"])
    return length


def _is_own(name: str) -> bool:
    found = _FRAME.match(name)
    return bool(found and not _LIBRARY.search(found["file"]))


def _readable(name: str) -> str:
    found = _FRAME.match(name)
    return f"{found['file']}:{found['line']} {found['function']}" if found else name
