"""Communication in a trace: hidden and exposed, by collective, and how fast it was.

A collective's kernel runs from when its rank arrives until the data is there: on a rank that came
early most of it is waiting. Bandwidth is therefore a lower bound of what the link can do; with the
traces of several ranks `trace_ranks` tells waiting and transfer apart.

Bandwidth follows nccl-tests (PERFORMANCE.md): algorithm bandwidth is the message over the time, bus
bandwidth multiplies it by what each rank has to send for each byte of the message.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals
from diagnostics.analyses.trace_launches import UNKNOWN, enclosing_rows, find_launches, places
from diagnostics.analyses.trace_names import COMMUNICATION
from diagnostics.analyses.trace_rows import begins_in, chosen, covered_by_rows_ns
from diagnostics.trace import Events, Trace

Collective = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "reduce", "send_recv",
    "barrier", "other",
]  # fmt: skip

_SPELLINGS: Mapping[Collective, re.Pattern[str]] = {
    "reduce_scatter": re.compile(r"reduce_?scatter", re.IGNORECASE),
    "all_reduce": re.compile(r"all_?reduce", re.IGNORECASE),
    "all_gather": re.compile(r"all_?gather", re.IGNORECASE),
    "all_to_all": re.compile(r"all_?to_?all", re.IGNORECASE),
    "broadcast": re.compile(r"broadcast|bcast", re.IGNORECASE),
    "barrier": re.compile(r"barrier", re.IGNORECASE),
    "send_recv": re.compile(r"send_?recv|^send|^recv|isend|irecv|p2p", re.IGNORECASE),
    "reduce": re.compile(r"reduce", re.IGNORECASE),
}
"""How each is spelled; `reduce` alone only where none of the others fits."""

BUS_FACTORS: dict[Collective, Callable[[int], float]] = {
    "all_reduce": lambda ranks: 2 * (ranks - 1) / ranks,
    "all_gather": lambda ranks: (ranks - 1) / ranks,
    "reduce_scatter": lambda ranks: (ranks - 1) / ranks,
    "all_to_all": lambda ranks: (ranks - 1) / ranks,
    "broadcast": lambda ranks: 1.0,
    "reduce": lambda ranks: 1.0,
    "send_recv": lambda ranks: 1.0,
}
"""Bytes on the bus for each byte of the message (nccl-tests, doc/PERFORMANCE.md)."""

_ELEMENT_BYTES = {
    "double": 8, "long": 8, "complexfloat": 8, "int64": 8, "float64": 8, "uint64": 8,
    "float": 4, "int": 4, "int32": 4, "float32": 4, "uint32": 4,
    "half": 2, "bfloat16": 2, "short": 2, "float16": 2, "int16": 2, "uint16": 2,
    "byte": 1, "char": 1, "bool": 1, "int8": 1, "uint8": 1, "float8_e4m3fn": 1, "float8_e5m2": 1,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CollectiveUse:
    """All kernels of one kind of exchange and one type of element that begin in the window.

    `ns` is the sum of their times, `exposed_ns` the part during which nothing computed. `dtype`,
    `num_bytes` (of the messages) and `group_size` are None where the trace does not say;
    the bandwidths are 1e9 bytes a second over the `num_sized` kernels whose message is known.
    """

    collective: Collective
    dtype: str | None
    group_size: int | None
    count: int
    ns: int
    exposed_ns: int
    share_of_window: float
    exposed_share_of_window: float
    num_bytes: float | None
    num_sized: int
    algorithm_gb_per_s: float | None
    bus_gb_per_s: float | None


@dataclass(frozen=True, eq=False)
class Exchanges:
    """The communication kernels of a trace, one row each in order of their start.

    `number` is the collective's place in `COLLECTIVES`; `dtype` the number of a name and
    `group_size` a count, -1 where unknown; `num_bytes` of the message is NaN where unknown.
    `group` is the number of the process group's name and `seq` its own count of collectives, -1
    where the trace does not say.
    """

    rows: Events
    number: Array
    dtype: Array
    group_size: Array
    num_bytes: Array
    group: Array
    seq: Array


COLLECTIVES: tuple[Collective, ...] = (*_SPELLINGS, "other")


def collective_of(name: str) -> Collective:
    """The kind of exchange that a name speaks of."""
    # What a kernel reduces with, and its arguments, would speak of a reduction, too.
    head = re.split(r"[(<]", name, maxsplit=1)[0]
    head = re.sub(r"_(Sum|Prod|Min|Max|Avg|PreMulSum|SumPostDiv)_.*$", "", head)
    return next((known for known, pattern in _SPELLINGS.items() if pattern.search(head)), "other")


def find_exchanges(trace: Trace, window: Intervals | None = None) -> Exchanges:
    """The communication kernels, of the window only if one is given."""
    rows = chosen(trace.events["kernel"], trace.named(COMMUNICATION))
    if window is not None:
        rows = rows[begins_in(rows, window)]
    told = _told(trace, rows)
    has_told, described = told >= 0, trace.events["collective"]
    by_name = {
        number: COLLECTIVES.index(collective_of(trace.names[number]))
        for number in np.unique(np.concatenate([rows["name"], described["collective"]])).tolist()
        if number >= 0
    }
    label = rows["name"].copy()
    label[has_told] = described["collective"][told[has_told]]
    own = np.array([by_name[number] for number in rows["name"].tolist()], np.int64)
    said = np.array([by_name[number] for number in label.tolist()], np.int64)
    unknown = COLLECTIVES.index("other")

    def column(name: str, missing: float) -> Array:
        values = np.full(len(rows), missing)
        values[has_told] = described[name][told[has_told]]
        return values if np.isnan(missing) else values.astype(np.int64)

    dtype = column("dtype", -1)
    elements = np.fmax(column("num_in", np.nan), column("num_out", np.nan))
    return Exchanges(
        rows=rows,
        number=np.where(said == unknown, own, said),
        dtype=dtype,
        group_size=column("group_size", -1),
        num_bytes=elements * _element_bytes(trace, dtype),
        group=column("group", -1),
        seq=column("seq", -1),
    )


def _told(trace: Trace, kernels: Events) -> Array:
    """The row of `collective` that describes each kernel; -1 without one.

    Newer traces write it at the kernel itself, older ones at the operator around its launch.
    """
    described = trace.events["collective"]
    own = places(described["correlation"], kernels["correlation"])
    launches = find_launches(trace, kernels)
    around = np.flatnonzero(described["correlation"] < 0)
    place = enclosing_rows(described[around], launches.track, launches.start_ns)
    by_operator = np.append(around, UNKNOWN)[place]
    return np.where(own >= 0, own, by_operator)


def _element_bytes(trace: Trace, dtype: Array) -> Array:
    sizes = {
        number: _ELEMENT_BYTES.get(trace.names[number].lower(), np.nan)
        for number in np.unique(dtype[dtype >= 0]).tolist()
    }
    return np.array([sizes.get(number, np.nan) for number in dtype.tolist()], np.float64)


def use_of_collectives(trace: Trace, window: Intervals) -> tuple[CollectiveUse, ...]:
    """Communication of the window by collective, element type and group size, longest first."""
    found = find_exchanges(trace, window)
    if not len(found.rows) or not window.total_ns:
        return ()
    hidden = covered_by_rows_ns(
        found.rows["start_ns"],
        found.rows["end_ns"],
        trace.events["kernel"],
        but=trace.named(COMMUNICATION),
    )
    keys = np.stack([found.number, found.dtype, found.group_size], axis=1)
    kinds, place = np.unique(keys, axis=0, return_inverse=True)
    uses = [
        _use(trace, found, np.flatnonzero(place.reshape(-1) == number), hidden, window)
        for number in range(len(kinds))
    ]
    return tuple(sorted(uses, key=lambda each: (-each.ns, each.collective)))


def _use(
    trace: Trace, found: Exchanges, mine: Array, hidden: Array, window: Intervals
) -> CollectiveUse:
    first = int(mine[0])
    collective, dtype = COLLECTIVES[int(found.number[first])], int(found.dtype[first])
    ranks = int(found.group_size[first])
    lengths = (found.rows["end_ns"] - found.rows["start_ns"])[mine]
    num_bytes = found.num_bytes[mine]
    is_sized = np.isfinite(num_bytes)
    total, exposed = int(lengths.sum()), int((lengths - hidden[mine]).sum())
    sent = float(num_bytes[is_sized].sum()) if is_sized.any() else None
    spent = int(lengths[is_sized].sum())
    speed = sent / spent if sent is not None and spent else None
    factor = BUS_FACTORS.get(collective)
    return CollectiveUse(
        collective=collective,
        dtype=trace.names[dtype].lower() if dtype >= 0 else None,
        group_size=ranks if ranks > 0 else None,
        count=len(mine),
        ns=total,
        exposed_ns=exposed,
        share_of_window=total / window.total_ns,
        exposed_share_of_window=exposed / window.total_ns,
        num_bytes=sent,
        num_sized=int(is_sized.sum()),
        algorithm_gb_per_s=speed,
        bus_gb_per_s=speed * factor(ranks) if speed and factor and ranks > 0 else None,
    )
