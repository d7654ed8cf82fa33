"""What the device ran: kernels by name, operator, stage and module, and how well they filled it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_backward import Backward, find_backward
from diagnostics.analyses.trace_kernel_names import could_use_matrix_units, uses_matrix_units
from diagnostics.analyses.trace_launches import UNKNOWN, find_launches, operators_of
from diagnostics.analyses.trace_rows import rows_in
from diagnostics.analyses.trace_stages import PHASES, Origin, Phase, find_origins
from diagnostics.trace import Events, Trace

TOP = 20
"""So many groups of each kind are kept."""

MAX_LEVELS = 256
"""More different fillings than this are rounded to 1/256 each."""


@dataclass(frozen=True, kw_only=True)
class KernelGroup:
    """Kernels of one name, operator or module. `share` is of all kernel time."""

    name: str
    count: int
    ns: int
    share: float


@dataclass(frozen=True, kw_only=True)
class StageKernels:
    """Kernels of one stage: of its backward, of its forward computed again, or neither (`direct`).

    `name` is that of the innermost range of the program, or "(unknown)".
    """

    name: str
    phase: Phase
    count: int
    ns: int
    share: float


@dataclass(frozen=True, kw_only=True)
class KernelUse:
    """All kernels of the window; groups heaviest first, at most `TOP` of each kind.

    `tensor_core_share` is the share of kernel time in kernels known to run on matrix units,
    `eligible_share` that of kernels whose operator is made of matrix products, `unused_share` that
    of such kernels which do not run on matrix units; the last two are None where no operator is
    known. `sm_efficiency` is the mean share of multiprocessors with a block, idle time counted as
    0, where kernels overlap that of the fullest; `occupancy_percent` is weighted by duration
    (both after torch-tb-profiler); None where the trace does not say.
    """

    count: int
    ns: int
    by_name: tuple[KernelGroup, ...]
    by_operator: tuple[KernelGroup, ...]
    by_stage: tuple[StageKernels, ...]
    by_module: tuple[KernelGroup, ...]
    tensor_core_share: float
    eligible_share: float | None
    unused_share: float | None
    sm_efficiency: float | None
    occupancy_percent: float | None


def use_of_kernels(
    trace: Trace, window: Intervals, backward: Backward | None = None, top: int = TOP
) -> KernelUse | None:
    """The kernels that begin in the window; None if there are none."""
    kernels = rows_in(trace.events["kernel"], window)
    if not len(kernels):
        return None
    lengths = kernels["end_ns"] - kernels["start_ns"]
    total = int(lengths.sum())
    origin = find_origins(trace, backward or find_backward(trace), find_launches(trace, kernels))
    operator = operators_of(trace, kernels)
    on_matrix_units = _of_names(trace.names, kernels["name"], uses_matrix_units)
    eligible = _of_names(trace.names, operator, could_use_matrix_units)
    knows_operator = bool((operator >= 0).any())
    return KernelUse(
        count=len(kernels),
        ns=total,
        by_name=groups(trace.names, kernels["name"], lengths, top),
        by_operator=groups(trace.names, operator, lengths, top),
        by_stage=_stages(trace.names, origin, lengths, top),
        by_module=_modules(trace.names, origin, lengths, top),
        tensor_core_share=_share(lengths[on_matrix_units], total),
        eligible_share=_share(lengths[eligible], total) if knows_operator else None,
        unused_share=(
            _share(lengths[eligible & ~on_matrix_units], total) if knows_operator else None
        ),
        sm_efficiency=_efficiency(kernels, window),
        occupancy_percent=_weighted(kernels["occupancy_percent"], lengths),
    )


def _share(lengths: Array, total: int) -> float:
    return float(lengths.sum()) / total if total else 0.0


def _of_names(names: Sequence[str], numbers: Array, fits: Callable[[str], bool]) -> Array:
    """Whether the name of each number fits."""
    distinct = np.unique(numbers[numbers >= 0])
    chosen = [number for number in distinct.tolist() if fits(names[number])]
    return np.isin(numbers, chosen)


@dataclass(frozen=True)
class Heavy:
    """What the events of one key took together; `share` is of all."""

    key: int
    count: int
    ns: int
    share: float


def heaviest(keys: Array, lengths: Array, top: int = TOP) -> list[Heavy]:
    """The keys that took longest together."""
    total = max(int(lengths.sum()), 1)
    found, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    spent = np.bincount(place, weights=lengths).astype(np.int64)
    order = np.argsort(-spent, kind="stable")[:top].tolist()
    return [
        Heavy(int(found[each]), int(counts[each]), int(spent[each]), int(spent[each]) / total)
        for each in order
    ]


def groups(
    names: Sequence[str], keys: Array, lengths: Array, top: int = TOP
) -> tuple[KernelGroup, ...]:
    """The heaviest groups of equal names."""
    return tuple(
        KernelGroup(name=_name(names, each.key), count=each.count, ns=each.ns, share=each.share)
        for each in heaviest(keys, lengths, top)
    )


def _name(names: Sequence[str], number: int) -> str:
    return "(unknown)" if number == UNKNOWN else names[number]


def _stages(
    names: Sequence[str], origin: Origin, lengths: Array, top: int
) -> tuple[StageKernels, ...]:
    num_phases = len(PHASES)
    keys = (origin.span + 1) * num_phases + origin.phase
    return tuple(
        StageKernels(
            name=_name(names, each.key // num_phases - 1),
            phase=PHASES[each.key % num_phases],
            count=each.count,
            ns=each.ns,
            share=each.share,
        )
        for each in heaviest(keys, lengths, top)
    )


def _modules(
    names: Sequence[str], origin: Origin, lengths: Array, top: int
) -> tuple[KernelGroup, ...]:
    is_known = origin.module >= 0
    return groups(names, origin.module, lengths, top) if is_known.any() else ()


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
    start, end = kernels["start_ns"], np.minimum(kernels["end_ns"], window.end[-1])
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
    levels = np.unique(filled)
    if len(levels) > MAX_LEVELS:
        filled = np.rint(filled * MAX_LEVELS) / MAX_LEVELS
        levels = np.unique(filled)
    for value in levels[::-1].tolist():
        # The fuller kernels claim their time first: what is left of the others is theirs.
        own = union(start[filled == value], end[filled == value])
        line = Timeline.of([own, rest])
        new = line.covered(0) & ~line.covered(1)
        spent += value * line.total_ns(new)
        rest = line.where(line.bits > 0)
    return spent
