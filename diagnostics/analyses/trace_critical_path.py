"""The chain of work that set the pace: what held up what, from the end of the window backwards.

From the last event of the window the walk goes to whatever that had to wait for longest: work of
the device to its launch, to the work before it on its stream or to that of another stream; a thread
to the device where a call waited for it, or to the thread that it had handed over to. Every moment
of the window is on the path once: on the device, or on one thread. Shortening what is not on it
gains nothing; shortening what is gains at most its share, because another path may take over.

Limits: waits between streams, and between threads, are guessed where the trace does not tell them
(`knows_stream_waits`); a call that waits is taken to have waited for what ended last before it;
other ranks and the loader's processes are not in the trace: a wait for them is a collective's
kernel or the loader's span. At most the last `trace_dependencies.MAX_WORK` pieces of work are
looked at: where the window has more, it is shortened to them (`window_ns`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses import trace_host
from diagnostics.analyses.intervals import Array, Intervals, union
from diagnostics.analyses.trace_backward import Backward
from diagnostics.analyses.trace_dependencies import (
    LAUNCH,
    MAX_WORK,
    OTHER_STREAM,
    Work,
    find_work,
)  # fmt: skip
from diagnostics.analyses.trace_host import HostThreads
from diagnostics.analyses.trace_launches import UNKNOWN
from diagnostics.analyses.trace_names import COMMUNICATION, RANGE
from diagnostics.analyses.trace_rows import between, covered_ns, minus, outermost_on, overlap
from diagnostics.analyses.trace_slices import excerpt
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.analyses.trace_threads import Thread, find_threads
from diagnostics.trace import DEVICE_KINDS, Trace

PathKind = Literal[trace_host.Cause, "compute", "communication", "device_copy", "queued"]
MAX_HOPS = 1 << 20
MAX_STILL = 16
"""Work without length could lead the walk in a circle; what is left then is unattributed."""

TOP_OPERATORS = 10


@dataclass(frozen=True, kw_only=True)
class PathPart:
    """Time on the path of one kind.

    Of the device: `compute`, `communication`, `device_copy` (memory sets too) and `queued` (it has
    been launched, nothing known holds it up, and it has not begun). All others are a thread's time,
    by what it was doing (`trace_host.CAUSES`).
    """

    kind: PathKind
    is_on_device: bool
    ns: int
    share: float


@dataclass(frozen=True, kw_only=True)
class PathOperator:
    """An operator on the path: its kernels there, and its own time on the host there."""

    name: str
    device_ns: int
    host_ns: int
    share: float


@dataclass(frozen=True, kw_only=True)
class CriticalPath:
    """The critical path over a window; the parts sum to it.

    `operators` are the heaviest ones. `num_hops` counts how often the path goes from one stream or
    thread to another. `is_shortened` says that the window was cut to its last part.
    """

    window_ns: int
    parts: tuple[PathPart, ...]
    device_share: float
    operators: tuple[PathOperator, ...]
    num_hops: int
    knows_stream_waits: bool
    is_shortened: bool


def find_critical_path(trace: Trace, steps: TraceSteps, backward: Backward) -> CriticalPath | None:
    """The critical path through the steps; None without a window."""
    window = steps.window
    if not window.total_ns:
        return None
    begin, end = int(window.start[0]), int(window.end[-1])
    work = find_work(trace, begin, end)
    is_shortened = len(work.start_ns) >= MAX_WORK
    if is_shortened:
        begin = int(work.start_ns[0])
        window = between(window, begin, end)
        trace = excerpt(trace, begin, end)
    threads = HostThreads(trace)
    main = steps.track if steps.track >= 0 else _busiest(work)
    walk = _Walk(work, find_threads(trace, work, backward, main, begin), begin, main)
    walk.from_end(end)
    on_device = _by_place(walk.on_device, window)
    on_host = _by_place(walk.on_host, window)
    parts = [*_device_parts(trace, work, on_device), *_host_parts(threads, on_host)]
    spent = {key: sum(ns for each, ns in parts if each == key) for key, _ in parts}
    window_ns = window.total_ns
    found = [
        PathPart(kind=kind, is_on_device=is_device, ns=ns, share=ns / window_ns)
        for (kind, is_device), ns in spent.items()
        if ns
    ]
    return CriticalPath(
        window_ns=window_ns,
        parts=tuple(sorted(found, key=lambda each: -each.ns)),
        device_share=sum(each.ns for each in found if each.is_on_device) / window_ns,
        operators=_operators(trace, work, on_device, on_host, window_ns),
        num_hops=walk.num_hops,
        knows_stream_waits=work.knows_waits,
        is_shortened=is_shortened,
    )


def _busiest(work: Work) -> int:
    known = work.track[work.track >= 0]
    return int(np.bincount(known).argmax()) if len(known) else 0


class _Walk:
    """Goes back in time; collects when the path was on which stream or thread."""

    def __init__(self, work: Work, threads: dict[int, Thread], begin_ns: int, main: int) -> None:
        self.work = work
        self.on_device: list[tuple[int, int, int]] = []
        self.on_host: list[tuple[int, int, int]] = []
        self.num_hops = 0
        self._threads = threads
        self._begin_ns = begin_ns
        self._main = main

    def from_end(self, end_ns: int) -> None:
        """Walks until the begin of the window."""
        last = self.work.ended_by(end_ns)
        is_device = last >= 0 and int(self.work.end_ns[last]) == end_ns
        place, at_ns = (last if is_device else self._main), end_ns
        num_still = 0
        while at_ns > self._begin_ns and self.num_hops < MAX_HOPS and num_still < MAX_STILL:
            step = self._device if is_device else self._host
            is_device, place, until_ns = step(place, at_ns)
            num_still = 0 if until_ns < at_ns else num_still + 1
            at_ns = until_ns
            self.num_hops += 1
        self._add_host(UNKNOWN, self._begin_ns, at_ns)

    def _device(self, place: int, at_ns: int) -> tuple[bool, int, int]:
        """Back through a row of work of one stream, to what held up its first."""
        work = self.work
        first = int(work.run[place])
        held = int(work.held_by[first])
        if held == LAUNCH:
            until = int(work.launch_ns[first])
            following = False, int(work.track[first]), until
        elif held == OTHER_STREAM:
            until = int(work.end_ns[work.before[first]])
            following = True, int(work.before[first]), until
        else:
            until = int(work.start_ns[first])
            following = False, self._main, until
        self._add(self.on_device, int(work.stream[first]), until, at_ns)
        return following

    def _host(self, track: int, at_ns: int) -> tuple[bool, int, int]:
        """Back along a thread, to its last wait."""
        thread = self._threads.get(track)
        if thread is None:
            self._add_host(track, self._begin_ns, at_ns)
            return False, track, self._begin_ns
        device = int(np.searchsorted(thread.device_ns, at_ns, side="right")) - 1
        other = int(np.searchsorted(thread.other_ns, at_ns, side="right")) - 1
        device_ns = int(thread.device_ns[device]) if device >= 0 else self._begin_ns
        other_ns = int(thread.other_ns[other]) if other >= 0 else self._begin_ns
        if max(device_ns, other_ns) <= self._begin_ns:
            self._add_host(track, self._begin_ns, at_ns)
            return False, track, self._begin_ns
        if device_ns >= other_ns:
            done = int(thread.work[device])
            # After the device was done the call had still to return: that is the thread's time.
            until = int(self.work.end_ns[done])
            self._add_host(track, until, at_ns)
            return True, done, until
        until = int(thread.other_end_ns[other])
        self._add_host(track, until, at_ns)
        return False, int(thread.other[other]), until

    def _add_host(self, track: int, start_ns: int, end_ns: int) -> None:
        self._add(self.on_host, track, start_ns, end_ns)

    def _add(
        self, parts: list[tuple[int, int, int]], place: int, start_ns: int, end_ns: int
    ) -> None:
        start_ns = max(start_ns, self._begin_ns)
        if end_ns > start_ns:
            parts.append((place, start_ns, end_ns))


Kinds = tuple[tuple[PathKind, bool], int]
"""A kind of the path and whether it is on the device, with its time."""


def _by_place(parts: Sequence[tuple[int, int, int]], window: Intervals) -> dict[int, Intervals]:
    """When the path was on each stream or thread, within the window."""
    rows = np.array(parts, np.int64).reshape(-1, 3)
    found = {}
    for place in np.unique(rows[:, 0]).tolist():
        own = rows[rows[:, 0] == place]
        found[place] = overlap(union(own[:, 1], own[:, 2]), window)
    return found


def _device_parts(trace: Trace, work: Work, path: Mapping[int, Intervals]) -> Iterator[Kinds]:
    is_kernel = work.kind == DEVICE_KINDS.index("kernel")
    is_exchange = np.isin(work.name, trace.named(COMMUNICATION))
    kinds: tuple[tuple[PathKind, Array], ...] = (
        ("compute", is_kernel & ~is_exchange),
        ("communication", is_kernel & is_exchange),
        ("device_copy", ~is_kernel),
    )
    for stream, own in path.items():
        rest = own
        for kind, is_kind in kinds:
            mine = is_kind & (work.stream == stream)
            busy = union(work.start_ns[mine], work.end_ns[mine])
            found = overlap(rest, busy)
            rest = minus(rest, busy)
            yield (kind, True), found.total_ns
        yield ("queued", True), rest.total_ns


def _host_parts(threads: HostThreads, path: Mapping[int, Intervals]) -> Iterator[Kinds]:
    for track, own in path.items():
        if track == UNKNOWN:
            yield ("unattributed", False), own.total_ns
            continue
        for cause, part in threads.on(track).split(own).items():
            yield (cause, False), part.total_ns


def _operators(
    trace: Trace,
    work: Work,
    on_device: Mapping[int, Intervals],
    on_host: Mapping[int, Intervals],
    window_ns: int,
) -> tuple[PathOperator, ...]:
    num_names = len(trace.names)
    device = np.zeros(num_names + 1, np.int64)
    for stream, path in on_device.items():
        mine = np.flatnonzero(work.stream == stream)
        spent = covered_ns(work.start_ns[mine], work.end_ns[mine], path)
        np.add.at(device, work.operator[mine], spent)  # what has no operator goes to the last place
    host = np.zeros(num_names + 1, np.int64)
    for track, path in on_host.items():
        for rows in outermost_on(trace.events["op"], track, trace.named(RANGE)):
            np.add.at(host, rows["name"], covered_ns(rows["start_ns"], rows["end_ns"], path))
    both = (device + host)[:num_names]
    heaviest = np.argsort(-both, kind="stable")[:TOP_OPERATORS].tolist()
    return tuple(
        PathOperator(
            name=trace.names[number],
            device_ns=int(device[number]),
            host_ns=int(host[number]),
            share=int(both[number]) / window_ns,
        )
        for number in heaviest
        if both[number]
    )
