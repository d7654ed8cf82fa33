"""When a thread of the program waited: for the device, or for another thread."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals
from diagnostics.analyses.trace_backward import Backward
from diagnostics.analyses.trace_dependencies import NEVER, Work
from diagnostics.analyses.trace_launches import UNKNOWN, places
from diagnostics.analyses.trace_names import COPY_CALL, DATA_LOADING, DEVICE_WAIT, RANGE
from diagnostics.analyses.trace_rows import chunks, cover, covered_ns, has_name, joined
from diagnostics.trace import Events, Kind, Trace

HANDOVER_NS = 50_000
"""A thread that does nothing for longer may have waited for another; shorter pauses are Python."""

HANDOVER_SHARE, LEAST_SHARE = 0.5, 0.1
"""Another thread that was in some range or operator for so much of the pause, and in operators for
so much at least, is what it waited for: a pause between two nodes of the backward is none."""

MAX_THREADS = 16


@dataclass(frozen=True, eq=False)
class Thread:
    """What a thread waited for, in order of the end of the waits.

    Until `device_ns` it waited for `work`, which ended at `work_ns`; at `other_ns` it went on after
    a pause in which the thread `other` had worked until `other_end_ns`.
    """

    device_ns: Array
    work: Array
    other_ns: Array
    other: Array
    other_end_ns: Array


def find_threads(
    trace: Trace, work: Work, backward: Backward, main: int, begin_ns: int
) -> dict[int, Thread]:
    """The threads that launch work or run the backward, and the main one, by track.

    What a thread did before `begin_ns` does not count.
    """
    counted = np.concatenate([work.track[work.track >= 0], backward.nodes["track"]])
    numbers, counts = np.unique(counted, return_counts=True)
    tracks = numbers[np.argsort(-counts, kind="stable")[:MAX_THREADS]].tolist()
    tracks = list(dict.fromkeys([main, *tracks]))
    busy = {track: _busy(trace, track) for track in tracks}
    alive = {track: joined(each, _in_ranges(trace, track)) for track, each in busy.items()}
    return {
        track: Thread(*_device_waits(trace, work, track), *_handovers(busy, alive, track, begin_ns))
        for track in tracks
    }


def _busy(trace: Trace, track: int) -> Intervals:
    """When a thread runs an operator, calls the runtime or waits for data."""
    loader, ranges = trace.named(DATA_LOADING), trace.named(RANGE)
    ops, calls, spans = (trace.events[kind] for kind in ("op", "runtime", "span"))
    parts = [
        *(cover(own, but=ranges) for own in _on(ops, track)),
        *(cover(own) for own in _on(calls, track)),
        *(cover(own, loader) for rows in (ops, spans) for own in _on(rows, track)),
    ]
    return joined(*parts)


def _in_ranges(trace: Trace, track: int) -> Intervals:
    """When a thread is in a range or a function of the program."""
    kinds: tuple[Kind, ...] = ("span", "op", "python")
    return joined(*(cover(own) for kind in kinds for own in _on(trace.events[kind], track)))


def _on(rows: Events, track: int) -> Iterator[Events]:
    for chunk in chunks(rows):
        yield chunk[chunk["track"] == track]


def _device_waits(trace: Trace, work: Work, track: int) -> tuple[Array, Array]:
    """When a call ended that had waited for the device, and for which work.

    A call that waits for all of it, or for a stream or an event, which the trace does not name, is
    taken to have waited for what ended last before it; a copy for itself.
    """
    calls = trace.events["runtime"]
    waits, copies = trace.named(DEVICE_WAIT), trace.named(COPY_CALL)
    ends, works = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for chunk in chunks(calls) if len(work.start_ns) else ():
        own = chunk[chunk["track"] == track]
        synced = own[has_name(own, waits)]
        place = np.searchsorted(work.end_ns[work.by_end], synced["end_ns"], side="right") - 1
        awaited = np.where(place >= 0, work.by_end[np.maximum(place, 0)], UNKNOWN)
        copied = own[has_name(own, copies)]
        itself = places(work.correlation, copied["correlation"])
        rows, last = np.concatenate([synced, copied]), np.concatenate([awaited, itself])
        done_ns = np.append(work.end_ns, NEVER)[last]
        is_wait = (done_ns > rows["start_ns"]) & (done_ns <= rows["end_ns"])
        ends.append(rows["end_ns"][is_wait])
        works.append(last[is_wait])
    end, found = np.concatenate(ends), np.concatenate(works)
    order = np.argsort(end, kind="stable")
    return end[order], found[order]


def _handovers(
    busy: Mapping[int, Intervals], alive: Mapping[int, Intervals], track: int, begin_ns: int
) -> tuple[Array, Array, Array]:
    """When a thread went on after a pause, which thread had worked meanwhile, and until when."""
    own = busy[track]
    start = np.maximum(np.append(begin_ns, own.end)[: len(own)], begin_ns)
    is_long = own.start - start > HANDOVER_NS
    start, end = start[is_long], own.start[is_long]
    best = HANDOVER_SHARE * (end - start)
    other, until = np.full(len(start), UNKNOWN), np.full(len(start), NEVER)
    for number, theirs in busy.items():
        if number == track or not len(theirs):
            continue
        spent = covered_ns(start, end, alive[number])
        works = covered_ns(start, end, theirs) > LEAST_SHARE * (end - start)
        place = np.searchsorted(theirs.start, end, side="left") - 1
        last = np.minimum(theirs.end[np.maximum(place, 0)], end)
        is_more = works & (spent > best)
        best = np.where(is_more, spent, best)
        other, until = np.where(is_more, number, other), np.where(is_more, last, until)
    known = other >= 0
    return end[known], other[known], until[known]
