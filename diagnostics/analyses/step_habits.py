"""What a program does within its steps that costs the device time: calls, small kernels, loops.

All times are per step of the trace. Idle time is charged to a call that the device ran dry in: the
gap that begins while the call lasts, until the device's next work. It is the most that the call
can cost: a program that never waits still needs time to launch its work.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline
from diagnostics.analyses.step_sections import HOST_SPANS, Section, sections_of
from diagnostics.analyses.trace_launches import enclosing, find_launches, operators_of
from diagnostics.analyses.trace_names import DATA_LOADING
from diagnostics.analyses.trace_places import is_own_code
from diagnostics.analyses.trace_rows import chosen, cover, joined, rows_in
from diagnostics.analyses.trace_slices import excerpt
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import DEVICE_KINDS, Events, Trace

MAX_KERNELS = 1 << 17
"""Kernels beyond this repeat what was seen; their rows are some 10 MB."""
SHORT_KERNEL_US = 10.0
"""Launching a kernel costs the program about as much (nsys-ai's small kernel)."""
QUEUED_GAP_US = 30.0
"""A longer gap between two kernels that were both queued waits for something else (HTA)."""

_SYNC = re.compile(r"^(cuda|hip|cu)(Device|Stream|Event|Ctx)Synchronize$|^(cuda|hip)Memcpy$")
_ALLOCATOR = re.compile(r"^(cuda|hip)(Malloc|Free)(Async|Host|Managed)?$|^(cuda|hip)HostAlloc$")
_COPYING = re.compile(r"^aten::(copy_|contiguous|clone|_to_copy)$")
_REORDERING = re.compile(r"nchwToNhwc|nhwcToNchw|convertTensor_kernel|tensorTransform")
"""Kernels by which cuDNN changes the layout of what it is given."""
_TO_HOST = re.compile(r"Memcpy ?DtoH|CopyDeviceToHost", re.IGNORECASE)
_FRAME = re.compile(r"^(?P<file>[^<>]+\.py)\((?P<line>\d+)\): (?P<function>.+)$")
_DATA_PARALLEL = re.compile(r"^DataParallel\.forward$")


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Calls of one sort: how many in a step, the idle time behind them, and which cost most.

    `name` is the operator, else the call, behind most of the idle time; `where` the line of the
    program's own code, None without stacks.
    """

    per_step: float
    idle_ms: float
    name: str | None = None
    where: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepHabits:
    """The habits of one trace, per step; a section that the trace does not name is None."""

    step_ms: float
    synchronisations: Calls
    allocations: Calls
    kernels: float
    short_kernel_share: float
    median_kernel_us: float
    queued_gap_ms: float
    copying_kernels: float
    copying_ms: float
    optimizer: Section | None
    zero_grad: Section | None
    backend: str | None
    num_devices: int | None
    is_data_parallel: bool


def find_habits(trace: Trace, steps: TraceSteps) -> StepHabits | None:
    """The habits of the steps; None without a step or without a kernel in one.

    Of a long trace the first steps stand for all: as many as launch `MAX_KERNELS` kernels.
    """
    whole, all_steps, steps = trace, steps, _first_steps(trace, steps)
    window = steps.window
    if not window.total_ns or not len(steps):
        return None
    if len(steps) < len(all_steps):
        trace = excerpt(trace, int(steps.start_ns[0]), int(steps.end_ns.max()))
    kernels = rows_in(trace.events["kernel"], window)
    if not len(kernels):
        return None
    gaps, calls = _gaps(trace, window), rows_in(trace.events["runtime"], window)
    us = (kernels["end_ns"] - kernels["start_ns"]) / 1e3
    copies = np.isin(operators_of(trace, kernels), trace.named(_COPYING))
    copies |= np.isin(kernels["name"], trace.named(_REORDERING))
    sections = sections_of(trace, steps, kernels, gaps)
    return StepHabits(
        step_ms=window.total_ns / 1e6 / len(steps),
        synchronisations=_calls(trace, steps, gaps, _waits(whole, calls)),
        allocations=_calls(trace, steps, gaps, chosen(calls, trace.named(_ALLOCATOR))),
        kernels=len(kernels) / len(steps),
        short_kernel_share=float(np.mean(us < SHORT_KERNEL_US)),
        median_kernel_us=float(np.median(us)),
        queued_gap_ms=_queued_ns(trace, kernels, gaps) / 1e6 / len(steps),
        copying_kernels=int(copies.sum()) / len(steps),
        copying_ms=float(us[copies].sum()) / 1e3 / len(steps),
        optimizer=sections["optimizer"],
        zero_grad=sections["zero_grad"],
        backend=trace.backend,
        num_devices=len(np.unique(kernels["device"][kernels["device"] >= 0])) or None,
        is_data_parallel=bool(len(trace.named(_DATA_PARALLEL))),
    )


def _first_steps(trace: Trace, steps: TraceSteps) -> TraceSteps:
    starts = trace.events["kernel"]["start_ns"]
    if len(starts) <= MAX_KERNELS:
        return steps
    count = max(1, int(np.searchsorted(steps.end_ns, starts[MAX_KERNELS], side="right")))
    first = slice(count)
    return replace(
        steps,
        numbers=steps.numbers[first],
        start_ns=steps.start_ns[first],
        host_end_ns=steps.host_end_ns[first],
        begin_ns=steps.begin_ns[first],
        end_ns=steps.end_ns[first],
    )


def within(at_ns: Array, spans: Intervals) -> Array:
    """Whether each time lies in one of the intervals."""
    if not len(spans):
        return np.zeros(len(at_ns), bool)
    place = np.searchsorted(spans.start, at_ns, side="right") - 1
    inside: Array = (place >= 0) & (at_ns < spans.end[np.maximum(place, 0)])
    return inside


def _gaps(trace: Trace, window: Intervals) -> Intervals:
    """When the device is idle within the steps, the wait for data left out: a loader is no call."""
    line = Timeline.of([window, joined(*(cover(trace.events[kind]) for kind in DEVICE_KINDS))])
    return line.where(line.covered(0) & ~line.covered(1))


def _waits(trace: Trace, calls: Events) -> Events:
    """Calls that wait for the device: synchronisations, and copies of results to the program."""
    to_host = chosen(trace.events["memcpy"], trace.named(_TO_HOST))["correlation"]
    fetches = np.isin(calls["correlation"], to_host[to_host >= 0])
    waits = np.isin(calls["name"], trace.named(_SYNC))
    waiting: Events = calls[fetches | waits]
    return waiting


def _calls(trace: Trace, steps: TraceSteps, gaps: Intervals, calls: Events) -> Calls:
    if not len(calls):
        return Calls(per_step=0.0, idle_ms=0.0)
    behind, idle_ns = _idle_behind(trace, gaps, calls)
    heaviest = calls[behind] if behind is not None else None
    return Calls(
        per_step=len(calls) / len(steps),
        idle_ms=idle_ns / 1e6 / len(steps),
        name=None if heaviest is None else _name(trace, heaviest),
        where=None if heaviest is None else _where(trace, heaviest),
    )


def _idle_behind(trace: Trace, gaps: Intervals, calls: Events) -> tuple[int | None, int]:
    """The call with the longest gap that begins in it, and the length of all such gaps, in ns."""
    waits = cover(calls)
    begun = within(gaps.start, waits)
    own = Intervals(gaps.start[begun], gaps.end[begun])
    loading = _loading(trace)
    line = Timeline.of([own, loading])
    total = line.total_ns(line.covered(0) & ~line.covered(1))
    if not total:
        return None, 0
    longest = own.start[np.argmax(own.end - own.start)]
    started = np.flatnonzero((calls["start_ns"] <= longest) & (longest < calls["end_ns"]))
    return int(started[-1]), total


def _loading(trace: Trace) -> Intervals:
    names = trace.named(DATA_LOADING)
    return joined(*(cover(trace.events[kind], names) for kind in HOST_SPANS))


def _name(trace: Trace, call: Events) -> str:
    """The innermost operator around a call, else the call itself."""
    found = enclosing(trace.events["op"], call["track"].reshape(1), call["start_ns"].reshape(1))
    return trace.names[int(found[0]) if found[0] >= 0 else int(call["name"])]


def _where(trace: Trace, call: Events) -> str | None:
    """The innermost frame of the program's own code around a call, as `file:line function`."""
    frames = trace.events["python"]
    around = frames[
        (frames["track"] == call["track"])
        & (frames["start_ns"] <= call["start_ns"])
        & (frames["end_ns"] >= call["end_ns"])
    ]
    for name in reversed(trace.names_of(around)):
        found = _FRAME.match(name)
        if found and is_own_code(found["file"]):
            return f"{found['file']}:{found['line']} {found['function']}"
    return None


def _queued_ns(trace: Trace, kernels: Events, gaps: Intervals) -> int:
    """Idle time between two kernels of which the second was launched before the first ended."""
    launches = find_launches(trace, kernels)
    order = np.argsort(kernels["start_ns"], kind="stable")
    starts, launched = kernels["start_ns"][order], launches.end_ns[order]
    if not len(starts):
        return 0
    place = np.minimum(np.searchsorted(starts, gaps.end), len(starts) - 1)
    ends_gap = starts[place] == gaps.end
    queued = (launched[place] >= 0) & (launched[place] <= gaps.start)
    lengths = gaps.end - gaps.start
    short = lengths < QUEUED_GAP_US * 1e3
    return int(lengths[ends_gap & queued & short].sum())
