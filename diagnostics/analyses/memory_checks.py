"""The performance guide's own rules about cache and workers, for one machine.

They contradict each other on small machines, so each is shown with what it asks for here.
"""

from dataclasses import dataclass
from typing import Literal

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.memory_demand import LoaderDemand
from diagnostics.analyses.memory_parts import GIB

CACHE_MAX_RAM_SHARE = 0.5
CACHE_TABLE_GIB = ((256, 50, 80), (128, 20, 40), (64, 10, 20))
"""A machine of so much memory: the cache from, to; in GiB."""
_TABLE_TOLERANCE = 0.9  # a machine sold with 64 GiB reports a little less
AUTO_CORE_SHARE, MIN_PER_GPU, MAX_ONE_GPU = 0.8, 4, 8

CACHE_SHARE_RULE = "cache <= 50 % of memory"
CACHE_TABLE_RULE = "cache by sizing table"
CORES_RULE = "workers <= cores"
HALF_CORES_RULE = "workers <= half the cores"
AUTO_RULE = "workers auto, 80 % of cores, >= 4 a GPU"
ONE_GPU_RULE = "workers, one GPU"
SEVERAL_GPUS_RULE = "workers, 4 for each GPU"

Unit = Literal["gib", "workers"]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one rule allows on this machine: None is no bound; `reason` says why it has none."""

    rule: str
    unit: Unit
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule held against a configuration, whose `value` is in the unit of the bounds."""

    bounds: Bounds
    value: float
    status: Literal["pass", "fail", "not_evaluated"]


def guide_bounds(capacity: Capacity, ranks: int) -> tuple[Bounds, ...]:
    """Every rule of the guide, for so many training processes on this machine."""
    return (*_cache_bounds(capacity), *_worker_bounds(capacity.cores, ranks))


def check_rules(bounds: tuple[Bounds, ...], loader: LoaderDemand, ranks: int) -> tuple[Check, ...]:
    """The configuration against the rules; those about a cache only where there is one."""
    values = {"gib": loader.cache_gib, "workers": float(ranks * loader.workers_per_rank)}
    return tuple(
        _check(each, values[each.unit]) for each in bounds if each.unit != "gib" or loader.use_cache
    )


def _check(bounds: Bounds, value: float) -> Check:
    if bounds.low is None and bounds.high is None:
        return Check(bounds=bounds, value=value, status="not_evaluated")
    good = (bounds.low is None or value >= bounds.low) and (
        bounds.high is None or value <= bounds.high
    )
    return Check(bounds=bounds, value=value, status="pass" if good else "fail")


def _cache_bounds(capacity: Capacity) -> tuple[Bounds, Bounds]:
    if capacity.memory_limit_bytes is None:
        reason = "memory not readable"
        return (
            Bounds(rule=CACHE_SHARE_RULE, unit="gib", reason=reason),
            Bounds(rule=CACHE_TABLE_RULE, unit="gib", reason=reason),
        )
    size_gib = capacity.memory_limit_bytes / GIB
    share = Bounds(rule=CACHE_SHARE_RULE, unit="gib", high=CACHE_MAX_RAM_SHARE * size_gib)
    for row, low, high in CACHE_TABLE_GIB:
        if size_gib >= _TABLE_TOLERANCE * row:
            return share, Bounds(rule=CACHE_TABLE_RULE, unit="gib", low=low, high=high)
    reason = "no row below 64 GiB"
    return share, Bounds(rule=CACHE_TABLE_RULE, unit="gib", reason=reason)


def _worker_bounds(cores: int | None, ranks: int) -> tuple[Bounds, ...]:
    if cores is None:
        reason = "cores not known"
        return (Bounds(rule=CORES_RULE, unit="workers", reason=reason),)
    auto = max(MIN_PER_GPU, int(cores * AUTO_CORE_SHARE) // ranks) * ranks
    several = MIN_PER_GPU * ranks
    return (
        Bounds(rule=CORES_RULE, unit="workers", high=cores),
        Bounds(rule=HALF_CORES_RULE, unit="workers", high=cores // 2),
        Bounds(rule=AUTO_RULE, unit="workers", low=auto, high=auto),
        Bounds(rule=ONE_GPU_RULE, unit="workers", low=MIN_PER_GPU, high=MAX_ONE_GPU)
        if ranks == 1
        else Bounds(rule=SEVERAL_GPUS_RULE, unit="workers", low=several, high=several),
    )
