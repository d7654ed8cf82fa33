"""What each piece of the device's work had to wait for: its launch, its stream, another stream.

A stream does its work in order. Work begins when it has been launched, when what comes before it on
its stream is done, and when what its stream was told to wait for is done: the last of these is what
held it up. Waits between streams are known where the trace has them (`enable_cuda_sync_events`);
elsewhere they are guessed where work begins right after that of another stream, later than its
launch and its own stream would have had it.
"""

from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array
from diagnostics.analyses.trace_launches import UNKNOWN, find_launches, operators_of, places_in_rows
from diagnostics.trace import DEVICE_KINDS, Trace

MAX_WORK = 1 << 18
"""Kernels and copies looked at, the last ones of the window: some 100 bytes of memory for each."""

GUESS_NS = 10_000
"""Work that begins so soon after that of another stream may have waited for it: a dependent kernel
starts within a few us, a launch takes 5 to 20 us (Holistic Trace Analysis)."""

STREAM, LAUNCH, OTHER_STREAM, NOTHING = range(4)
NEVER = -(1 << 62)
"""Before every time of a trace, whose times may be negative."""


@dataclass(frozen=True, eq=False)
class Work:
    """The device's work in order of its start; places in it are meant by numbers.

    `held_by` says what held each up and `before` by which work, -1 for a launch or nothing.
    `launch_ns` is the end of the launch or the start, whichever is earlier; `track` its thread, -1
    unknown. `kind` is the place in `DEVICE_KINDS`, `operator` the number of its operator's name,
    `run` the first of the row of work of one stream that held up one another up to this.
    """

    start_ns: Array
    end_ns: Array
    stream: Array
    kind: Array
    name: Array
    operator: Array
    correlation: Array
    launch_ns: Array
    track: Array
    held_by: Array
    before: Array
    run: Array
    by_end: Array
    knows_waits: bool

    def ended_by(self, at_ns: int) -> int:
        """The work that ended last until a time; -1 if none had."""
        place = int(np.searchsorted(self.end_ns[self.by_end], at_ns, side="right")) - 1
        return int(self.by_end[place]) if place >= 0 else UNKNOWN


def find_work(trace: Trace, begin_ns: int, end_ns: int) -> Work:
    """The work that begins within [begin, end)."""
    columns = _columns(trace, begin_ns, end_ns)
    start, end, track = columns["start_ns"], columns["end_ns"], columns["launch_track"]
    by_end = np.argsort(end, kind="stable")
    before = _before_on_stream(start, columns["track"])
    stream_ns = _ends(end, before)
    launch_ns = np.where(track >= 0, np.minimum(columns["launch_end"], start), NEVER)
    ready_ns = np.maximum(stream_ns, launch_ns)
    told = _told_waits(trace, columns)
    other = _guessed_waits(start, end, by_end, ready_ns) if told is None else told
    other_ns = _ends(end, other)
    held_by = np.where(launch_ns > stream_ns, LAUNCH, STREAM)
    held_by[(track < 0) & (before < 0)] = NOTHING
    held_by[(other_ns > ready_ns) & (other_ns <= start)] = OTHER_STREAM
    held_before = np.where(held_by == STREAM, before, UNKNOWN)
    return Work(
        start_ns=start,
        end_ns=end,
        stream=columns["track"],
        kind=columns["kind"],
        name=columns["name"],
        operator=columns["operator"],
        correlation=columns["correlation"],
        launch_ns=launch_ns,
        track=track,
        held_by=held_by,
        before=np.where(held_by == OTHER_STREAM, other, held_before),
        run=_runs(columns["track"], held_by),
        by_end=by_end,
        knows_waits=told is not None,
    )


def _ends(end: Array, places: Array) -> Array:
    """The ends at the places; `NEVER` for no place."""
    return np.append(end, NEVER)[places]


def _columns(trace: Trace, begin_ns: int, end_ns: int) -> dict[str, Array]:
    """The work of all kinds side by side, in order of its start."""
    taken = "start_ns", "end_ns", "track", "stream", "name", "correlation"
    found: list[dict[str, Array]] = []
    for number, kind in enumerate(DEVICE_KINDS):
        rows = trace.events[kind]
        first, last = np.searchsorted(rows["start_ns"], [begin_ns, end_ns]).tolist()
        rows = rows[max(first, last - MAX_WORK) : last]
        launches = find_launches(trace, rows)
        found.append(
            {name: np.array(rows[name]) for name in taken}
            | {
                "kind": np.full(len(rows), number, np.int8),
                "launch_start": launches.start_ns,
                "launch_end": launches.end_ns,
                "launch_track": launches.track,
                "operator": operators_of(trace, rows),
            }
        )
    columns = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    order = np.argsort(columns["start_ns"], kind="stable")[-MAX_WORK:]
    return {name: values[order] for name, values in columns.items()}


def _before_on_stream(start: Array, stream: Array) -> Array:
    """The place of the work before each one on its stream; -1 for the first."""
    order = np.lexsort((start, stream))
    before = np.full(len(start), UNKNOWN)
    same = stream[order][1:] == stream[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    return before


def _runs(stream: Array, held_by: Array) -> Array:
    """For each work the first of those of its stream that held up one another up to it."""
    order = np.argsort(stream, kind="stable")
    begins = np.flatnonzero(held_by[order] != STREAM)
    same = np.searchsorted(begins, np.arange(len(order)), side="right") - 1
    runs = np.empty(len(stream), np.int64)
    runs[order] = order[begins[np.maximum(same, 0)]] if len(begins) else order
    return runs


def _guessed_waits(start: Array, end: Array, by_end: Array, ready_ns: Array) -> Array:
    """The work that ended last before each one, if it could have begun earlier and did not."""
    if not len(start):
        return np.empty(0, np.int64)
    place = np.searchsorted(end[by_end], start, side="right") - 1
    last = by_end[np.maximum(place, 0)]
    is_near = (place >= 0) & (start - end[last] <= GUESS_NS) & (end[last] > ready_ns)
    return np.where(is_near, last, UNKNOWN)


def _told_waits(trace: Trace, columns: dict[str, Array]) -> "Array | None":
    """The work of another stream that each one was told to wait for; None where nothing is told.

    A stream that is told to wait holds up the next work launched on it, until what was launched on
    the other stream before the mark is done.
    """
    waits = trace.events["sync"]
    waits = waits[(waits["waits_for"] >= 0) & (waits["stream"] >= 0)]
    if not len(waits):
        return None
    calls = trace.events["runtime"]
    asked = places_in_rows(calls, "correlation", waits["correlation"])
    marked = places_in_rows(calls, "correlation", waits["waits_for"])
    known = (asked >= 0) & (marked >= 0) & (waits["waits_for_stream"] >= 0)
    found = np.full(len(columns["start_ns"]), UNKNOWN)
    pairs = np.stack([waits["stream"], waits["waits_for_stream"]], axis=1)
    for pair in np.unique(pairs[known], axis=0).tolist():
        mine = known & (pairs == pair).all(axis=1)
        asked_ns, marked_ns = calls["start_ns"][asked[mine]], calls["start_ns"][marked[mine]]
        _tell(columns, found, (pair[0], asked_ns), (pair[1], marked_ns))
    return found


def _tell(
    columns: dict[str, Array],
    found: Array,
    waiting: tuple[int, Array],
    awaited: tuple[int, Array],
) -> None:
    """Enters, for the next work of a stream after each time, the last of another before its own."""
    held, held_ns = _launched_on(columns, waiting[0])
    source, source_ns = _launched_on(columns, awaited[0])
    next_place = np.searchsorted(held_ns, waiting[1])
    last_place = np.searchsorted(source_ns, awaited[1]) - 1
    fits = (next_place < len(held)) & (last_place >= 0)
    for work, before in zip(held[next_place[fits]], source[last_place[fits]], strict=True):
        if found[work] < 0 or columns["end_ns"][before] > columns["end_ns"][found[work]]:
            found[work] = before


def _launched_on(columns: dict[str, Array], stream: int) -> tuple[Array, Array]:
    """The work of a stream, and when each was launched."""
    own = np.flatnonzero((columns["stream"] == stream) & (columns["launch_track"] >= 0))
    return own, np.maximum.accumulate(columns["launch_start"][own])
