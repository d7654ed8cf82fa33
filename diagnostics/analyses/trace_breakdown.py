"""Where the window of a trace went: three decompositions, each of which sums to it.

* Partition by priority (torch-tb-profiler): each moment counts for the first of kernel, memcpy,
  memset, communication, runtime, data loader, operator that covers it, else for `other`.
* Exposed (TraceLens): compute, communication that no compute hides, copies that neither hides,
  idle.
* Busy and idle of the device: the union of its kernels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_names import (
    COMMUNICATION,
    DATA_LOADING,
    HOST_COMMUNICATION,
    PROFILER_STEP,
)
from diagnostics.analyses.trace_slices import Slice, slices
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import Events, Trace

PARTITION = (
    "kernel", "memcpy", "memset", "communication", "runtime", "data_loader", "operator", "other",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """A share of the window."""

    name: str
    ns: int
    share: float


@dataclass(frozen=True, kw_only=True, eq=False)
class StepTimes:
    """What every step by itself was spent on, in ns.

    `partition`: the steps as the device saw them, [begin, end); its parts sum to each step.
    `wait`: how long the program waited for data in [start, host_end), by its own clock.
    """

    partition: Mapping[str, Array]
    wait: Array


@dataclass(frozen=True, kw_only=True)
class TraceBreakdown:
    """The decompositions; all shares are of `window_ns`.

    `communication_share` is the whole of it, hidden part included. Shares that need a device are
    None where the trace has no work of one.
    """

    window_ns: int
    num_steps: int
    partition: tuple[Part, ...]
    by_step: StepTimes
    compute_share: float | None
    communication_share: float | None
    communication_exposed_share: float | None
    copy_exposed_share: float | None
    idle_share: float | None
    gpu_busy_share: float | None
    data_loader_share: float
    data_loader_exposed_share: float | None

    def ms_per_step(self, share: float | None) -> float | None:
        """A share of the window as a part of the mean step; None where there are no steps."""
        if share is None or not self.num_steps:
            return None
        return share * self.window_ns / 1e6 / self.num_steps


def break_down(trace: Trace, steps: TraceSteps) -> TraceBreakdown | None:
    """The decompositions over the steps, or the whole trace; None if it has no event."""
    if not steps.window.total_ns:
        return None
    spent = _Spent(len(steps))
    for part in slices(trace, steps):
        spent.add(part)
    return spent.breakdown(steps, has_device=trace.has_device)


class _Spent:
    """Time by what it was spent on, summed up over parts of a trace."""

    def __init__(self, num_steps: int) -> None:
        self._partition = {name: np.zeros(num_steps, np.int64) for name in PARTITION}
        self._wait = np.zeros(num_steps, np.int64)
        self._ns: dict[str, int] = {}

    def add(self, part: Slice) -> None:
        """Takes a part of the trace in account."""
        steps, sets = part.steps, _Sets.of(part.trace)
        own = slice(part.first_step, part.first_step + len(steps))
        # Two sets of every other step put all borders of steps on the time line.
        halves = [union(steps.begin_ns[half::2], steps.end_ns[half::2]) for half in (0, 1)]
        line = Timeline.of([*halves, sets.compute, sets.communication, *sets.claims()])
        inside = line.covered(0) | line.covered(1)
        compute, comm, *claims = (line.covered(2 + number) for number in range(9))
        free = inside.copy()
        for name, claim in zip(PARTITION, [*claims, inside], strict=True):
            mine = _between(line, free & claim, steps.begin_ns, steps.end_ns)
            self._partition[name][own] += mine
            free &= ~claim
        self._wait[own] += _waits(steps, sets.loader)
        kernels, copies, loader = claims[0], claims[1] | claims[2], claims[5]
        for name, pieces in (
            ("compute", compute),
            ("communication", comm),
            ("communication_exposed", comm & ~compute),
            ("copy_exposed", copies & ~kernels),
            ("idle", ~(kernels | copies)),
            ("gpu_busy", kernels),
            ("data_loader", loader),
            ("data_loader_exposed", loader & ~(kernels | copies)),
        ):
            self._ns[name] = self._ns.get(name, 0) + line.total_ns(pieces & inside)

    def breakdown(self, steps: TraceSteps, *, has_device: bool) -> TraceBreakdown:
        """All of it, as shares of the steps together."""
        window_ns = steps.window.total_ns

        def share(name: str) -> float:
            return self._ns[name] / window_ns

        def device(name: str) -> float | None:
            return share(name) if has_device else None

        return TraceBreakdown(
            window_ns=window_ns,
            num_steps=steps.count,
            partition=tuple(
                Part(name=name, ns=int(ns.sum()), share=int(ns.sum()) / window_ns)
                for name, ns in self._partition.items()
            ),
            by_step=StepTimes(partition=self._partition, wait=self._wait),
            compute_share=device("compute"),
            communication_share=device("communication"),
            communication_exposed_share=device("communication_exposed"),
            copy_exposed_share=device("copy_exposed"),
            idle_share=device("idle"),
            gpu_busy_share=device("gpu_busy"),
            data_loader_share=share("data_loader"),
            data_loader_exposed_share=device("data_loader_exposed"),
        )


def _waits(steps: TraceSteps, loader: Intervals) -> Array:
    """How much of each step by the host's clock the loader covers."""
    halves = [union(steps.start_ns[half::2], steps.host_end_ns[half::2]) for half in (0, 1)]
    line = Timeline.of([*halves, loader])
    return _between(line, line.covered(2), steps.start_ns, steps.host_end_ns)


def _between(line: Timeline, pieces: Array, start_ns: Array, end_ns: Array) -> Array:
    """The length of the chosen pieces from each start to its end; both are on the time line."""
    until = np.concatenate([[0], np.cumsum(np.where(pieces, line.lengths_ns, 0))])
    # An empty step is on no time line, and may lie behind its end.
    first, last = (
        until[np.minimum(np.searchsorted(line.points, each), len(until) - 1)]
        for each in (start_ns, end_ns)
    )
    spent: Array = last - first
    return spent


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
        kernel, op, span = (trace.events[kind] for kind in ("kernel", "op", "span"))
        is_communication = np.isin(kernel["name"], trace.named(COMMUNICATION))
        loader = trace.named(DATA_LOADING)
        marks = np.concatenate([loader, trace.named(PROFILER_STEP)])
        return cls(
            compute=_cover(kernel[~is_communication]),
            communication=_cover(kernel[is_communication]),
            memcpy=_cover(trace.events["memcpy"]),
            memset=_cover(trace.events["memset"]),
            host_communication=_chosen((op, span), trace.named(HOST_COMMUNICATION)),
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


def _joined(first: Intervals, second: Intervals) -> Intervals:
    return union(
        np.concatenate([first.start, second.start]), np.concatenate([first.end, second.end])
    )


def _cover(events: Events) -> Intervals:
    return union(events["start_ns"], events["end_ns"])


def _chosen(groups: tuple[Events, ...], names: Array) -> Intervals:
    rows = [group[np.isin(group["name"], names)] for group in groups]
    starts = np.concatenate([each["start_ns"] for each in rows])
    ends = np.concatenate([each["end_ns"] for each in rows])
    return union(starts, ends)
