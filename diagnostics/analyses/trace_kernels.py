"""What the device ran: kernels by name, operator, stage and module, and how well they filled it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_backward import Backward, find_backward
from diagnostics.analyses.trace_kernel_names import could_use_matrix_units, uses_matrix_units
from diagnostics.analyses.trace_launches import UNKNOWN, find_launches, operators_of
from diagnostics.analyses.trace_rows import chunks_apart, rows_in
from diagnostics.analyses.trace_stages import PHASES, Origin, Phase, find_origins, find_ranges
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
    backward = backward or find_backward(trace)
    ranges, use = find_ranges(trace), _Use(trace)
    for rows in chunks_apart(trace.events["kernel"]):
        kernels = rows_in(rows, window)
        if len(kernels):
            use.add(kernels, find_origins(ranges, backward, find_launches(trace, kernels)), window)
    return use.whole(window, top) if use.count else None


class _Use:
    """What kernels took, summed up over parts of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.count = 0
        self._trace = trace
        self._name, self._operator, self._stage, self._module = (_Tally() for _ in range(4))
        self._ns = {"all": 0, "on_units": 0, "eligible": 0, "unused": 0}
        self._filled_ns: list[float] = []
        self._occupied, self._weight = 0.0, 0.0

    def add(self, kernels: Events, origin: Origin, window: Intervals) -> None:
        """Takes kernels in account that no other ones overlap."""
        names = self._trace.names
        lengths = kernels["end_ns"] - kernels["start_ns"]
        operator = operators_of(self._trace, kernels)
        on_units = _of_names(names, kernels["name"], uses_matrix_units)
        eligible = _of_names(names, operator, could_use_matrix_units)
        self.count += len(kernels)
        self._name.add(kernels["name"], lengths)
        self._operator.add(operator, lengths)
        self._stage.add((origin.span + 1) * len(PHASES) + origin.phase, lengths)
        self._module.add(origin.module, lengths)
        self._ns["all"] += int(lengths.sum())
        self._ns["on_units"] += int(lengths[on_units].sum())
        self._ns["eligible"] += int(lengths[eligible].sum())
        self._ns["unused"] += int(lengths[eligible & ~on_units].sum())
        filled = kernels["blocks_per_sm"].astype(np.float64)
        if np.isfinite(filled).any():
            self._filled_ns.append(_filled_ns(kernels, filled, window))
        occupancy = kernels["occupancy_percent"].astype(np.float64)
        known = np.isfinite(occupancy) & (lengths > 0)
        self._occupied += float((occupancy[known] * lengths[known]).sum())
        self._weight += float(lengths[known].sum())

    def whole(self, window: Intervals, top: int) -> KernelUse:
        """All of it."""
        names = self._trace.names
        knows_operator = self._operator.knows_any
        return KernelUse(
            count=self.count,
            ns=self._ns["all"],
            by_name=_groups(names, self._name.heaviest(top)),
            by_operator=_groups(names, self._operator.heaviest(top)),
            by_stage=_stages(names, self._stage.heaviest(top)),
            by_module=(
                _groups(names, self._module.heaviest(top)) if self._module.knows_any else ()
            ),
            tensor_core_share=self._share("on_units"),
            eligible_share=self._share("eligible") if knows_operator else None,
            unused_share=self._share("unused") if knows_operator else None,
            sm_efficiency=(
                sum(self._filled_ns) / window.total_ns
                if self._filled_ns and window.total_ns
                else None
            ),
            occupancy_percent=self._occupied / self._weight if self._weight else None,
        )

    def _share(self, name: str) -> float:
        return self._ns[name] / self._ns["all"] if self._ns["all"] else 0.0


def _of_names(names: Sequence[str], numbers: Array, fits: Callable[[str], bool]) -> Array:
    """Whether the name of each number fits."""
    found = np.flatnonzero(np.bincount(numbers + 1)) - 1
    is_fitting = np.zeros(len(names) + 1, bool)  # what has no name goes to the last place
    for number in found[found >= 0].tolist():
        is_fitting[number] = fits(names[number])
    chosen: Array = is_fitting[numbers]
    return chosen


@dataclass(frozen=True)
class Heavy:
    """What the events of one key took together; `share` is of all."""

    key: int
    count: int
    ns: int
    share: float


class _Tally:
    """How many events of each key there are, and how long they take together; keys from -1 on."""

    def __init__(self) -> None:
        self._count: dict[int, int] = {}
        self._ns: dict[int, int] = {}

    @property
    def knows_any(self) -> bool:
        """Whether any event has a key, which -1 is none."""
        return any(key != UNKNOWN for key in self._count)

    def add(self, keys: Array, lengths: Array) -> None:
        counts = np.bincount(keys + 1)
        spent = np.bincount(keys + 1, weights=lengths)
        for place in np.flatnonzero(counts).tolist():
            key = place - 1
            self._count[key] = self._count.get(key, 0) + int(counts[place])
            self._ns[key] = self._ns.get(key, 0) + int(spent[place])

    def heaviest(self, top: int) -> list[Heavy]:
        """The keys that took longest together."""
        total = max(sum(self._ns.values()), 1)
        order = sorted(self._ns, key=lambda key: (-self._ns[key], key))[:top]
        return [Heavy(key, self._count[key], self._ns[key], self._ns[key] / total) for key in order]


def groups(
    names: Sequence[str], keys: Array, lengths: Array, top: int = TOP
) -> tuple[KernelGroup, ...]:
    """The heaviest groups of equal names."""
    tally = _Tally()
    tally.add(keys, lengths)
    return _groups(names, tally.heaviest(top))


def _groups(names: Sequence[str], found: Sequence[Heavy]) -> tuple[KernelGroup, ...]:
    return tuple(
        KernelGroup(name=_name(names, each.key), count=each.count, ns=each.ns, share=each.share)
        for each in found
    )


def _name(names: Sequence[str], number: int) -> str:
    return "(unknown)" if number == UNKNOWN else names[number]


def _stages(names: Sequence[str], found: Sequence[Heavy]) -> tuple[StageKernels, ...]:
    num_phases = len(PHASES)
    return tuple(
        StageKernels(
            name=_name(names, each.key // num_phases - 1),
            phase=PHASES[each.key % num_phases],
            count=each.count,
            ns=each.ns,
            share=each.share,
        )
        for each in found
    )


def _filled_ns(kernels: Events, filled: Array, window: Intervals) -> float:
    """Where kernels overlap, the one that fills most multiprocessors counts."""
    filled = np.clip(np.nan_to_num(filled), 0.0, 1.0)
    start, end = kernels["start_ns"], np.minimum(kernels["end_ns"], window.end[-1])
    reach = np.maximum.accumulate(end)
    overlaps = start[1:] < reach[:-1]
    single = ~(np.append(overlaps, False) | np.insert(overlaps, 0, False))
    spent = float((filled * np.maximum(end - start, 0))[single].sum())
    spent += _overlapping(start[~single], end[~single], filled[~single])
    return spent


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
