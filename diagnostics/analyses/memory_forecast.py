"""Will it fit? Holds what a run asks for against the machine, and finds what to change.

Host memory, /dev/shm and GPU memory are judged apart. A share counts what others already use.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from diagnostics.analyses.machine_capacity import NEARLY_FULL_SHARE, Capacity
from diagnostics.analyses.memory_changes import (
    Most,
    Option,
    gpu_options,
    host_options,
    shared_options,
)
from diagnostics.analyses.memory_checks import CACHE_MAX_RAM_SHARE
from diagnostics.analyses.memory_demand import Demand, SettingChange
from diagnostics.analyses.memory_parts import GIB, Part, gpu_parts, host_parts, shared_parts
from diagnostics.machine import GpuState

Verdict = Literal["fits", "tight", "does not fit", "unknown"]
ResourceName = Literal["host memory", "shared memory", "GPU memory"]
Parts = Callable[[Demand], tuple[Part, ...]]

TIGHT_SHARE = NEARLY_FULL_SHARE
"""Above it a forecast is tight: its own error, and what else a machine does, need the rest."""

_NAMELESS = "batches are handed over in memory without a name, which /dev/shm does not bound"


@dataclass(frozen=True, kw_only=True)
class ResourceForecast:
    """One resource. `share` is of the limit, with what others use already.

    `changes` are the switches that make it fit with room to spare, and `after_bytes` is the need
    then; both are empty where nothing has to change. `is_solved` is false when not even all
    changes suffice.
    """

    resource: ResourceName
    verdict: Verdict
    parts: tuple[Part, ...]
    used_by_others_bytes: int | None
    limit_bytes: int | None
    reason: str | None = None
    changes: tuple[SettingChange, ...] = ()
    after_bytes: int | None = None
    is_solved: bool = True

    @property
    def need_bytes(self) -> int:
        """The sum of the parts."""
        return total_bytes(self.parts)

    @property
    def share(self) -> float | None:
        """Use of the limit once the run is under way."""
        if not self.limit_bytes or self.used_by_others_bytes is None:
            return None
        return (self.used_by_others_bytes + self.need_bytes) / self.limit_bytes


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The answer for one machine, with what it was computed from."""

    demand: Demand
    resources: tuple[ResourceForecast, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the resources; unknown only where none that is asked for is known."""
        order: tuple[Verdict, ...] = ("does not fit", "tight", "fits")
        held = {resource.verdict for resource in self.resources if resource.parts}
        return next((verdict for verdict in order if verdict in held), "unknown")


def total_bytes(parts: Sequence[Part]) -> int:
    """The sum of some parts."""
    return sum(part.size_bytes for part in parts)


def forecast(demand: Demand, capacity: Capacity, gpus: Sequence[GpuState]) -> Forecast:
    """Judge every resource that the run needs."""
    resources = [_host(demand, capacity), _shared(demand, capacity)]
    if demand.device == "cuda":
        resources.append(_gpu(demand, gpus))
    return Forecast(demand=demand, resources=tuple(resources))


@dataclass(frozen=True)
class _Limit:
    resource: ResourceName
    limit_bytes: int
    used_bytes: int

    def verdict(self, need_bytes: int) -> Verdict:
        share = (self.used_bytes + need_bytes) / max(1, self.limit_bytes)
        if share > 1.0:
            return "does not fit"
        return "tight" if share > TIGHT_SHARE else "fits"


def _host(demand: Demand, capacity: Capacity) -> ResourceForecast:
    need = total_bytes(host_parts(demand))
    room = capacity.tightest(need)
    if room is None:
        reason = "the machine's memory could not be read"
        return _unjudged("host memory", host_parts(demand), reason)
    bound = _Limit("host memory", room.limit_bytes, room.used_bytes)
    excess = bound.used_bytes + need - int(TIGHT_SHARE * bound.limit_bytes)
    return _judged(demand, host_parts, bound, host_options(demand, excess, _most(demand, capacity)))


def _shared(demand: Demand, capacity: Capacity) -> ResourceForecast:
    parts = shared_parts(demand)
    total, free = capacity.shm_total_bytes, capacity.shm_free_bytes
    if parts and (total is None or free is None):
        return _unjudged("shared memory", parts, "/dev/shm could not be read")
    used = None if total is None or free is None else total - free
    if not parts or total is None or used is None:
        return ResourceForecast(
            resource="shared memory",
            verdict="fits",
            parts=(),
            used_by_others_bytes=used,
            limit_bytes=total,
            reason=_NAMELESS
            if demand.loader.is_nameless
            else "no loader process, so no batch passes through it",
        )
    bound = _Limit("shared memory", total, used)
    return _judged(demand, shared_parts, bound, shared_options(demand, _most(demand, capacity)))


def _most(demand: Demand, capacity: Capacity) -> Most:
    """The guide's two hard limits on this machine."""
    limit, cores = capacity.memory_limit_bytes, capacity.cores
    return Most(
        cache_gib=math.inf if limit is None else CACHE_MAX_RAM_SHARE * limit / GIB,
        workers_per_rank=None if cores is None else max(1, cores // demand.ranks),
    )


def _gpu(demand: Demand, gpus: Sequence[GpuState]) -> ResourceForecast:
    known = [
        _Limit("GPU memory", gpu.memory_total_bytes, gpu.memory_used_bytes)
        for gpu in gpus[: demand.ranks]
        if gpu.memory_total_bytes is not None and gpu.memory_used_bytes is not None
    ]
    if not known:
        return _unjudged("GPU memory", gpu_parts(demand), "no GPU's memory could be read")
    bound = min(known, key=lambda limit: limit.limit_bytes - limit.used_bytes)
    return _judged(demand, gpu_parts, bound, gpu_options(demand))


def _judged(
    demand: Demand, parts_of: Parts, bound: _Limit, options: Iterator[Option]
) -> ResourceForecast:
    parts = parts_of(demand)
    verdict = bound.verdict(total_bytes(parts))
    option, solved = (
        (None, True) if verdict == "fits" else _first_that_fits(parts_of, bound, options)
    )
    return ResourceForecast(
        resource=bound.resource,
        verdict=verdict,
        parts=parts,
        used_by_others_bytes=bound.used_bytes,
        limit_bytes=bound.limit_bytes,
        changes=() if option is None else option.changes,
        after_bytes=None if option is None else total_bytes(parts_of(option.demand)),
        is_solved=solved,
    )


def _first_that_fits(
    parts_of: Parts, bound: _Limit, options: Iterator[Option]
) -> tuple[Option | None, bool]:
    """The first option that fits with room to spare, else the leanest one."""
    leanest: Option | None = None
    least = None
    for option in options:
        need = total_bytes(parts_of(option.demand))
        if bound.verdict(need) == "fits":
            return option, True
        if least is None or need < least:
            leanest, least = option, need
    return leanest, False


def _unjudged(resource: ResourceName, parts: tuple[Part, ...], reason: str) -> ResourceForecast:
    return ResourceForecast(
        resource=resource,
        verdict="unknown",
        parts=parts,
        used_by_others_bytes=None,
        limit_bytes=None,
        reason=reason,
    )
