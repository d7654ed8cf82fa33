"""What the device ran: kernels by name, by operator and by stage, and how well they filled it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_launches import UNKNOWN, enclosing, find_launches, operators_of
from diagnostics.analyses.trace_names import PROFILER_STEP, TENSOR_CORE
from diagnostics.trace import Events, Trace


@dataclass(frozen=True, kw_only=True)
class KernelGroup:
    """Kernels of one name, operator or stage. `share` is of all kernel time."""

    name: str
    count: int
    ns: int
    share: float


@dataclass(frozen=True, kw_only=True)
class KernelUse:
    """All kernels of the window.

    `sm_efficiency` is the mean share of multiprocessors with a block, idle time counted as 0;
    `occupancy` is weighted by duration; both None where the trace does not say.
    """

    count: int
    ns: int
    by_name: tuple[KernelGroup, ...]
    by_operator: tuple[KernelGroup, ...]
    by_stage: tuple[KernelGroup, ...]
    tensor_core_share: float
    sm_efficiency: float | None
    occupancy_percent: float | None


def use_of_kernels(trace: Trace, window: Intervals, top: int = 20) -> KernelUse | None:
    """The kernels that begin in the window; None if there are none."""
    kernels = trace.events["kernel"]
    inside = _inside(kernels["start_ns"], window)
    kernels = kernels[inside]
    if not len(kernels):
        return None
    lengths = kernels["end_ns"] - kernels["start_ns"]
    total = int(lengths.sum())
    on_tensor_cores = np.isin(kernels["name"], trace.named(TENSOR_CORE))
    launches = find_launches(trace, kernels)
    spans = trace.events["span"]
    is_mark = np.isin(spans["name"], trace.named(PROFILER_STEP))
    stage = enclosing(spans[~is_mark], launches.track, launches.start_ns)
    return KernelUse(
        count=len(kernels),
        ns=total,
        by_name=_groups(trace.names, kernels["name"], lengths, top),
        by_operator=_groups(trace.names, operators_of(trace, kernels), lengths, top),
        by_stage=_groups(trace.names, stage, lengths, top),
        tensor_core_share=_share(lengths[on_tensor_cores], total),
        sm_efficiency=_efficiency(kernels, window),
        occupancy_percent=_weighted(kernels["occupancy_percent"], lengths),
    )


def _share(lengths: Array, total: int) -> float:
    return float(lengths.sum()) / total if total else 0.0


def _inside(at_ns: Array, window: Intervals) -> Array:
    if not len(window):
        return np.zeros(len(at_ns), bool)
    place = np.searchsorted(window.start, at_ns, side="right") - 1
    return (place >= 0) & (at_ns < window.end[np.maximum(place, 0)])


def _groups(names: Sequence[str], keys: Array, lengths: Array, top: int) -> tuple[KernelGroup, ...]:
    total = max(int(lengths.sum()), 1)
    found, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    spent = np.bincount(place, weights=lengths).astype(np.int64)
    order = np.argsort(-spent, kind="stable")[:top]
    return tuple(
        KernelGroup(
            name="(unknown)" if found[each] == UNKNOWN else names[found[each]],
            count=int(counts[each]),
            ns=int(spent[each]),
            share=int(spent[each]) / total,
        )
        for each in order.tolist()
    )


def _weighted(values: Array, weights: Array) -> float | None:
    known = np.isfinite(values) & (weights > 0)
    if not known.any():
        return None
    return float(np.average(values[known], weights=weights[known]))


def _efficiency(kernels: Events, window: Intervals) -> float | None:
    """Where kernels overlap, the one that fills most multiprocessors counts."""
    filled = kernels["blocks_per_sm"].astype(np.float64)
    if not window.total_ns or not np.isfinite(filled).any():
        return None
    filled = np.clip(np.nan_to_num(filled), 0.0, 1.0)
    # The fuller kernels claim their time first: what is left of the others is theirs.
    order = np.argsort(kernels["start_ns"], kind="stable")
    start, end, filled = kernels["start_ns"][order], kernels["end_ns"][order], filled[order]
    end = np.minimum(end, window.end[-1])
    reach = np.maximum.accumulate(end)
    overlaps = start[1:] < reach[:-1]
    single = ~(np.append(overlaps, False) | np.insert(overlaps, 0, False))
    spent = float((filled * np.maximum(end - start, 0))[single].sum())
    spent += _overlapping(start[~single], end[~single], filled[~single])
    return spent / window.total_ns


def _overlapping(start: Array, end: Array, filled: Array) -> float:
    """The integral over time of the largest value among overlapping intervals."""
    spent = 0.0
    rest = union(start[:0], end[:0])
    for value in np.unique(filled)[::-1].tolist():
        own = union(start[filled == value], end[filled == value])
        line = Timeline.of([own, rest])
        new = line.covered(0) & ~line.covered(1)
        spent += value * line.total_ns(new)
        rest = line.where(line.bits > 0)
    return spent
