"""Why an allocation failed: too large, in pieces, or for others on the same GPU. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from diagnostics.run import Run

Cause = Literal[
    "larger_than_gpu", "not_granted", "fragmented", "scattered", "others", "size", "unknown"
]

ROUNDING_SHARE = 0.01
"""Sizes are printed with two decimals: below this share of a size two of them are equal."""


TENSORS_EVENT = "stage_tensors"
LEAST_MATCH_BYTES = 21 << 20
"""Below 10 MiB PyTorch's allocator takes 20 MiB from a device whatever was asked for."""
_GRANULE_BYTES = 2 << 20
MAX_MATCHES = 4


@dataclass(frozen=True, kw_only=True)
class AllocationFailure:
    """One failure, as its message states it; sizes in bytes, None was not stated.

    `cause`: `larger_than_gpu` could never fit; `not_granted` was less than the driver called free;
    `fragmented` was less than what PyTorch holds unused; `scattered` was more than that, and less
    than it and what is free together; `others` would
    have fitted without other processes; `size` is none of these. `missing_bytes` is what would have
    had to be free besides. `count` messages state the same. `tensors` are
    those of a training step, by stage and shape, that take as much as was asked for.
    """

    rank: int
    step: int | None
    at_unix_s: float | None
    memory: Literal["device", "host"]
    cause: Cause
    count: int
    device_index: int | None
    requested_bytes: float | None
    total_bytes: float | None
    free_bytes: float | None
    allowed_bytes: float | None
    process_bytes: float | None
    other_bytes: float | None
    allocated_bytes: float | None
    private_bytes: float | None
    unallocated_bytes: float | None
    largest_other_pid: int | None
    stage: str | None
    phase: str | None
    place: str | None
    shapes: str | None
    text: str
    source: str
    tensors: tuple[str, ...] = ()

    @property
    def missing_bytes(self) -> float | None:
        """What lacked, where what was free is known."""
        if self.requested_bytes is None or self.free_bytes is None:
            return None
        return max(0.0, self.requested_bytes - self.free_bytes)


_SAME = (
    "rank",
    "memory",
    "requested_bytes",
    "total_bytes",
    "free_bytes",
    "allocated_bytes",
    "unallocated_bytes",
)


def compute_allocation_failures(run: Run) -> tuple[AllocationFailure, ...]:
    """Every failure once, in the order of the messages; of the same figures the first has most."""
    rows = run.tables.allocation_failures
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows.to_dict("records"):
        plain = {str(name): _plain(value) for name, value in row.items()}
        found.setdefault(tuple(plain[name] for name in _SAME), []).append(plain)
    tensors = _tensors(run)
    return tuple(_failure(each, tensors) for each in found.values())


def _tensors(run: Run) -> dict[str, int]:
    """Bytes by stage, name and shape, as the trainer wrote them down when memory ran out."""
    events = run.tables.events
    told = events.loc[events["name"] == TENSORS_EVENT, "values"]
    return {
        str(name): int(size)
        for values in told
        for name, size in values.items()
        if isinstance(size, int | float) and 0 < size < 1 << 62
    }


def _plain(value: Any) -> Any:
    return None if not isinstance(value, str) and pd.isna(value) else value


def _failure(rows: list[dict[str, Any]], tensors: dict[str, int]) -> AllocationFailure:
    """What any of the messages knows: a traceback has the place, the last line the advice."""
    known = {name: _first(row[name] for row in rows) for name in rows[0]}
    for name in ("step", "device_index", "largest_other_pid"):
        known[name] = None if known[name] is None else int(known[name])
    return AllocationFailure(
        **known,
        cause=_cause(known),
        count=len(rows),
        tensors=_matching(known["requested_bytes"], known["memory"], tensors),
    )


def _matching(requested: float | None, memory: str, tensors: dict[str, int]) -> tuple[str, ...]:
    """The host's message is exact; a GPU's has two decimals of what its allocator rounds up to."""
    if requested is None:
        return ()
    if memory == "host":
        found = [name for name, size in tensors.items() if size == requested]
    elif requested < LEAST_MATCH_BYTES:
        return ()
    else:
        near = 0.5 * ROUNDING_SHARE * requested
        found = [name for name, size in tensors.items() if abs(_taken(size) - requested) <= near]
    return tuple(found[:MAX_MATCHES])


def _taken(size: int) -> int:
    """What PyTorch's allocator takes from a device for a request of at least 10 MiB."""
    return -(-size // _GRANULE_BYTES) * _GRANULE_BYTES


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _cause(known: dict[str, Any]) -> Cause:
    requested, total, free = (known[f"{name}_bytes"] for name in ("requested", "total", "free"))
    if requested is None or known["memory"] == "host":
        return "unknown"
    if total is not None and requested > total:
        return "larger_than_gpu"
    if free is None:
        return "unknown"
    if requested <= free * (1 - ROUNDING_SHARE):
        return "not_granted"
    unused = known["unallocated_bytes"]
    if unused is not None and requested <= unused:
        return "fragmented"
    if unused is not None and requested <= free + unused:
        return "scattered"
    others = _others(known)
    if others is not None and requested <= free + (unused or 0.0) + others:
        return "others"
    return "unknown" if unused is None else "size"


def _others(known: dict[str, Any]) -> float | None:
    """What other processes hold: as the message lists them, else what is left of the GPU."""
    if known["other_bytes"] is not None:
        return float(known["other_bytes"])
    total, free, own = (known[f"{name}_bytes"] for name in ("total", "free", "process"))
    if total is None or free is None or own is None:
        return None
    left = float(total - free - own)
    return left if left > ROUNDING_SHARE * total else None
