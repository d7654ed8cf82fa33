"""Where the window of a trace went: three decompositions, each of which sums to it.

* Partition by priority (torch-tb-profiler): each moment counts for the first of kernel, memcpy,
  memset, communication, runtime, data loader, operator that covers it, else for `other`.
* Exposed (TraceLens): compute, communication that no compute hides, copies that neither hides,
  idle.
* Busy and idle of the device: the union of its kernels.
"""

import re
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import Trace

COMMUNICATION = re.compile(r"^(nccl|rccl|mscclpp|oneccl)|\bnccl(Dev)?Kernel", re.IGNORECASE)
_HOST_COMMUNICATION = re.compile(r"^(nccl|gloo|mpi|ucc):", re.IGNORECASE)
_LOADER = re.compile(r"^enumerate\(DataLoader\)#|^data_wait$")

PARTITION = (
    "kernel", "memcpy", "memset", "communication", "runtime", "data_loader", "operator", "other",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """A share of the window."""

    name: str
    ns: int
    share: float


@dataclass(frozen=True, kw_only=True)
class TraceBreakdown:
    """The decompositions; all shares are of `window_ns`.

    `communication_share` is the whole of it, hidden part included. Shares that need a device are
    None where the trace has no work of one.
    """

    window_ns: int
    partition: tuple[Part, ...]
    compute_share: float | None
    communication_share: float | None
    communication_exposed_share: float | None
    copy_exposed_share: float | None
    idle_share: float | None
    gpu_busy_share: float | None
    data_loader_share: float
    data_loader_exposed_share: float | None


def partition_of_steps(trace: Trace, steps: TraceSteps) -> dict[str, Array]:
    """The partition of every step by itself, in ns; over all parts they sum to each step."""
    sets = _Sets.of(trace)
    # Two sets of every other step put all borders of steps on the time line.
    halves = [union(steps.begin_ns[half::2], steps.end_ns[half::2]) for half in (0, 1)]
    line = Timeline.of([*halves, *sets.claims()])
    inside = line.covered(0) | line.covered(1)
    step = np.searchsorted(steps.begin_ns, line.points[:-1], side="right") - 1
    claims = [line.covered(2 + number) for number in range(len(PARTITION) - 1)]
    parts = {}
    for name, claim in zip(PARTITION, [*claims, inside], strict=True):
        mine = inside & claim
        parts[name] = np.bincount(step[mine], weights=line.lengths_ns[mine], minlength=len(steps))
        inside &= ~claim
    return parts


def waits_of_steps(trace: Trace, steps: TraceSteps) -> Array:
    """How long the program waited for data in each step, by its own clock, in ns."""
    loader = _Sets.of(trace).loader
    halves = [union(steps.start_ns[half::2], steps.host_end_ns[half::2]) for half in (0, 1)]
    line = Timeline.of([*halves, loader])
    mine = (line.covered(0) | line.covered(1)) & line.covered(2)
    step = np.searchsorted(steps.start_ns, line.points[:-1], side="right") - 1
    return np.bincount(step[mine], weights=line.lengths_ns[mine], minlength=len(steps))


def break_down(trace: Trace, steps: TraceSteps) -> TraceBreakdown | None:
    """The decompositions over the steps; None if there is no step."""
    window = steps.window
    if not window.total_ns:
        return None
    return _Sets.of(trace).break_down(window)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sets:
    """What the moments of a trace are covered by."""

    compute: Intervals
    communication: Intervals
    memcpy: Intervals
    memset: Intervals
    host_communication: Intervals
    runtime: Intervals
    loader: Intervals
    operators: Intervals

    @classmethod
    def of(cls, trace: Trace) -> "_Sets":
        fits = _named(trace, COMMUNICATION)
        kernel, op, span = (trace.events[kind] for kind in ("kernel", "op", "span"))
        is_communication = np.isin(kernel["name"], fits)
        loader, host_comm = _named(trace, _LOADER), _named(trace, _HOST_COMMUNICATION)
        marks = np.concatenate([loader, _named(trace, re.compile(r"^ProfilerStep#"))])
        return cls(
            compute=_cover(kernel[~is_communication]),
            communication=_cover(kernel[is_communication]),
            memcpy=_cover(trace.events["memcpy"]),
            memset=_cover(trace.events["memset"]),
            host_communication=_chosen((op, span), host_comm),
            runtime=_cover(trace.events["runtime"]),
            loader=_chosen((op, span), loader),
            operators=_cover(op[~np.isin(op["name"], marks)]),
        )

    def claims(self) -> list[Intervals]:
        """The partition's sets by priority; the last part, `other`, has none."""
        kernels = _joined(self.compute, self.communication)
        return [
            kernels, self.memcpy, self.memset, self.host_communication, self.runtime,
            self.loader, self.operators,
        ]  # fmt: skip

    def break_down(self, window: Intervals) -> TraceBreakdown:
        line = Timeline.of([window, self.compute, self.communication, *self.claims()])
        inside, compute, comm, *claims = (line.covered(number) for number in range(10))
        kernels, copies, loader = claims[0], claims[1] | claims[2], claims[5]
        window_ns = window.total_ns
        has_device = bool(len(self.compute) or len(self.communication))

        def share(pieces: Array) -> float:
            return line.total_ns(pieces & inside) / window_ns

        def device(pieces: Array) -> float | None:
            return share(pieces) if has_device else None

        return TraceBreakdown(
            window_ns=window_ns,
            partition=_partition(line, [*claims, inside], inside, window_ns),
            compute_share=device(compute),
            communication_share=device(comm),
            communication_exposed_share=device(comm & ~compute),
            copy_exposed_share=device(copies & ~kernels),
            idle_share=device(~(kernels | copies)),
            gpu_busy_share=device(kernels),
            data_loader_share=share(loader),
            data_loader_exposed_share=device(loader & ~(kernels | copies)),
        )


def _joined(first: Intervals, second: Intervals) -> Intervals:
    return union(
        np.concatenate([first.start, second.start]), np.concatenate([first.end, second.end])
    )


def _partition(
    line: Timeline, claims: list[Array], inside: Array, window_ns: int
) -> tuple[Part, ...]:
    free = inside.copy()
    parts = []
    for name, claim in zip(PARTITION, claims, strict=True):
        ns = line.total_ns(free & claim)
        free &= ~claim
        parts.append(Part(name=name, ns=ns, share=ns / window_ns))
    return tuple(parts)


def _named(trace: Trace, pattern: re.Pattern[str]) -> Array:
    """The numbers of the names that fit."""
    fits = [number for number, name in enumerate(trace.names) if pattern.search(name)]
    return np.array(fits, np.int64)


def _cover(events: "np.ndarray[tuple[int], np.dtype[np.void]]") -> Intervals:
    return union(events["start_ns"], events["end_ns"])


def _chosen(
    groups: tuple["np.ndarray[tuple[int], np.dtype[np.void]]", ...], names: Array
) -> Intervals:
    rows = [group[np.isin(group["name"], names)] for group in groups]
    starts = np.concatenate([each["start_ns"] for each in rows])
    ends = np.concatenate([each["end_ns"] for each in rows])
    return union(starts, ends)
