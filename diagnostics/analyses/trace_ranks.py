"""Traces of several ranks of one job: who waits for whom, and what the slowest one costs.

The ranks leave a collective together, so its ends tell how the ranks' clocks differ, and the
shortest of its kernels was only the transfer: what a rank's kernel took longer, it waited. A rank's
own time is its step without the waits that no computation hides. Without the slowest rank a step
would have taken as long as the longest own time of the others: the difference is what it costs.
Collectives are paired by process group and sequence number where the traces have them, else by
their ends; those of ranks that left no trace stay unpaired, and their waits in the own time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Array
from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_collectives import Exchanges, find_exchanges
from diagnostics.analyses.trace_launches import UNKNOWN
from diagnostics.analyses.trace_names import COMMUNICATION
from diagnostics.analyses.trace_rows import covered_by_rows_ns
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import Trace

WhyNot = Literal["one_trace", "same_rank", "no_common_step", "no_collective", "no_pair"]

MAX_VOTES = 1000
"""So many collectives of each of two ranks vote on the difference of their clocks."""

TOLERANCE_NS = 500_000
"""Ends of one collective lie closer together than this; a kernel's end is seen to some us, and the
clocks of two hosts drift less than it within a trace."""

_NS_PER_MS = 1e6


@dataclass(frozen=True, kw_only=True)
class TraceRank:
    """Means over the common steps of one rank's trace, in ms.

    `own_ms` is the step without its waits for other ranks, `data_wait_ms` the program's wait for
    data in it. `lateness_ms` is how much later than the first rank it began the paired collectives,
    `slowest_share` the share of steps in which no rank's own time was longer. `clock_offset_ms` is
    what its clock is ahead of the first trace's.
    """

    rank: int
    step_ms: float
    own_ms: float
    wait_ms: float
    data_wait_ms: float
    lateness_ms: float
    slowest_share: float
    clock_offset_ms: float


@dataclass(frozen=True, kw_only=True)
class TraceRanks:
    """The ranks side by side; `why_not` says why there are none, then all else is empty.

    `cost_ms_per_step` is what a step would save without the slowest rank: the mean over steps of
    the longest own time with it less the longest without it. `num_paired` of `num_collectives` (of
    the rank with fewest) were paired over all ranks.
    """

    why_not: WhyNot | None = "one_trace"
    ranks: tuple[TraceRank, ...] = ()
    num_steps: int = 0
    num_collectives: int = 0
    num_paired: int = 0
    slowest_rank: int | None = None
    cost_ms_per_step: float | None = None


@dataclass(frozen=True, eq=False)
class _Rank:
    trace: Trace
    steps: TraceSteps
    data_wait_ns: Array
    found: Exchanges

    @property
    def start_ns(self) -> Array:
        start: Array = self.found.rows["start_ns"]
        return start

    @property
    def end_ns(self) -> Array:
        end: Array = self.found.rows["end_ns"]
        return end


def compare_trace_ranks(traces: Sequence[Trace], found: Sequence[TraceAnalysis]) -> TraceRanks:
    """The ranks side by side; the traces and what was found in each."""
    if len(traces) < 2:
        return TraceRanks(why_not="one_trace")
    if len({place if each.rank is None else each.rank for place, each in enumerate(found)}) < len(
        found
    ):
        return TraceRanks(why_not="same_rank")
    ranks = [
        _Rank(
            trace, each.steps, each.breakdown.by_step.wait, find_exchanges(trace, each.steps.window)
        )
        for trace, each in zip(traces, found, strict=True)
        if each.breakdown is not None and each.num_steps
    ]
    if len(ranks) < 2:
        return TraceRanks(why_not="no_common_step")
    numbers = [_numbers(each.steps) for each in ranks]
    common = sorted(set(numbers[0]).intersection(*numbers[1:]))
    if not common:
        return TraceRanks(why_not="no_common_step")
    fewest = min(len(each.start_ns) for each in ranks)
    if not fewest:
        return TraceRanks(why_not="no_collective")
    pairs, offsets = _paired(ranks)
    if not pairs.shape[1]:
        return TraceRanks(why_not="no_pair", num_collectives=fewest)
    times = [
        _times(each, pairs[place], _transfers(ranks, pairs))[:, _places(listed, common)]
        for place, (each, listed) in enumerate(zip(ranks, numbers, strict=True))
    ]
    return _compared(ranks, np.stack(times), pairs, offsets, fewest)


def _numbers(steps: TraceSteps) -> list[int]:
    """The trace's own numbers where all of them differ, else the places."""
    numbers = steps.numbers
    is_unique = len(np.unique(numbers)) == len(numbers)
    found: list[int] = (numbers if is_unique else np.arange(1, len(numbers) + 1)).tolist()
    return found


def _places(listed: Sequence[int], common: Sequence[int]) -> list[int]:
    by_number = {number: place for place, number in enumerate(listed)}
    return [by_number[number] for number in common]


def _paired(ranks: Sequence[_Rank]) -> tuple[Array, list[int]]:
    """Places of one collective in each rank's list, by rank and pair; and the clocks' differences.

    Paired with the first rank; a collective counts where every rank has its part.
    """
    first = ranks[0]
    everywhere = np.arange(len(first.start_ns))
    partners = [everywhere]
    offsets = [0]
    for other in ranks[1:]:
        partner, offset = _partners(first, other)
        partners.append(partner)
        offsets.append(offset)
    is_everywhere = np.stack(partners).min(axis=0) >= 0
    return np.stack(partners)[:, is_everywhere], offsets


def _partners(first: _Rank, other: _Rank) -> tuple[Array, int]:
    """For each collective of the first rank its place in the other's list, -1 without."""
    partner = _by_sequence(first, other)
    if (partner >= 0).any():
        known = partner >= 0
        return partner, int(np.median(other.end_ns[partner[known]] - first.end_ns[known]))
    apart_ns = first.trace.origin_ns - other.trace.origin_ns
    offset = _voted(first.end_ns, other.end_ns, apart_ns)
    ends = other.end_ns - offset
    order = np.argsort(ends, kind="stable")
    right = np.minimum(np.searchsorted(ends[order], first.end_ns), len(ends) - 1)
    left = np.maximum(right - 1, 0)
    is_left = abs(ends[order][left] - first.end_ns) < abs(ends[order][right] - first.end_ns)
    nearest = order[np.where(is_left, left, right)]
    fits = abs(ends[nearest] - first.end_ns) <= TOLERANCE_NS
    fits &= first.found.number == other.found.number[nearest]
    # Of two that claim the same partner neither is known to be right.
    claimed = np.bincount(nearest[fits], minlength=len(ends))
    fits &= claimed[nearest] == 1
    return np.where(fits, nearest, UNKNOWN), offset


def _by_sequence(first: _Rank, other: _Rank) -> Array:
    """Partners by process group and its own count of collectives, where both traces tell them."""
    theirs = {key: place for place, key in enumerate(_keys(other)) if key is not None}
    found = [theirs.get(key, UNKNOWN) if key else UNKNOWN for key in _keys(first)]
    return np.array(found, np.int64)


def _keys(rank: _Rank) -> list[tuple[str, int] | None]:
    """Group and count of each collective; None where either is unknown or comes twice."""
    pairs = list(zip(rank.found.group.tolist(), rank.found.seq.tolist(), strict=True))
    counts = Counter(pairs)
    names = rank.trace.names
    return [
        (names[pair[0]], pair[1]) if min(pair) >= 0 and counts[pair] == 1 else None
        for pair in pairs
    ]


def _voted(first_ns: Array, other_ns: Array, apart_ns: int) -> int:
    """What the other's times are ahead, by the difference of ends that most pairs agree on.

    By `apart_ns` they would be if both clocks were set alike.
    """
    differences = np.sort((other_ns[:MAX_VOTES, None] - first_ns[None, :MAX_VOTES]).reshape(-1))
    until = np.searchsorted(differences, differences + TOLERANCE_NS, side="right")
    votes = until - np.arange(len(differences))
    # Steps that are all alike agree on several differences: clocks that differ least are likeliest.
    most = np.flatnonzero(votes == votes.max())
    best = int(most[abs(differences[most] - apart_ns).argmin()])
    return int(np.median(differences[best : int(until[best])]))


def _transfers(ranks: Sequence[_Rank], pairs: Array) -> Array:
    """How long each paired collective took the rank that began it last."""
    lengths = [(each.end_ns - each.start_ns)[pairs[place]] for place, each in enumerate(ranks)]
    shortest: Array = np.stack(lengths).min(axis=0)
    return shortest


_STEP, _OWN, _WAIT, _DATA = range(4)


def _times(rank: _Rank, mine: Array, transfer_ns: Array) -> Array:
    """Step, own time, exposed wait and wait for data, by step, in ms."""
    start = rank.start_ns[mine]
    until = np.maximum(rank.end_ns[mine] - transfer_ns, start)
    kernels, exchanges = rank.trace.events["kernel"], rank.trace.named(COMMUNICATION)
    waited = (until - start) - covered_by_rows_ns(start, until, kernels, but=exchanges)
    steps = rank.steps
    step = np.searchsorted(steps.begin_ns, start, side="right") - 1
    wait = np.bincount(np.maximum(step, 0), weights=waited, minlength=len(steps))
    whole = steps.end_ns - steps.begin_ns
    return np.stack([whole, whole - wait, wait, rank.data_wait_ns]) / _NS_PER_MS


def _ahead_ns(first: _Rank, other: _Rank, offset_ns: int) -> int:
    """What the other's clock is ahead; times in a trace are from its own first event."""
    return offset_ns + other.trace.origin_ns - first.trace.origin_ns


def _compared(
    ranks: Sequence[_Rank], times: Array, pairs: Array, offsets: Sequence[int], fewest: int
) -> TraceRanks:
    """Times are by rank, quantity and step."""
    own = times[:, _OWN]
    means = times.mean(axis=2)
    slowest = int(means[:, _OWN].argmax())
    others = np.delete(own, slowest, axis=0).max(axis=0)
    began = np.stack(
        [
            each.start_ns[pairs[place]] - offset
            for place, (each, offset) in enumerate(zip(ranks, offsets, strict=True))
        ]
    )
    late_ms = (began - began.min(axis=0)).mean(axis=1) / _NS_PER_MS
    is_slowest = own >= own.max(axis=0)
    return TraceRanks(
        why_not=None,
        ranks=tuple(
            TraceRank(
                rank=place if each.trace.rank is None else each.trace.rank,
                step_ms=float(means[place, _STEP]),
                own_ms=float(means[place, _OWN]),
                wait_ms=float(means[place, _WAIT]),
                data_wait_ms=float(means[place, _DATA]),
                lateness_ms=float(late_ms[place]),
                slowest_share=float(is_slowest[place].mean()),
                clock_offset_ms=_ahead_ns(ranks[0], each, offsets[place]) / _NS_PER_MS,
            )
            for place, each in enumerate(ranks)
        ),
        num_steps=own.shape[1],
        num_collectives=fewest,
        num_paired=pairs.shape[1],
        slowest_rank=slowest if ranks[slowest].trace.rank is None else ranks[slowest].trace.rank,
        cost_ms_per_step=float(np.maximum(own[slowest] - others, 0.0).mean()),
    )
