"""Switches that lower a need, in the order in which they cost the training least."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from diagnostics.analyses.memory_demand import Demand, LoaderDemand, SettingChange
from diagnostics.analyses.memory_parts import GIB, cache_bytes

CACHE_STEP_GIB = 0.5
FINE_PREFETCH = 16
"""Up to it each value is tried, above it halves: a demand may hold any number."""


@dataclass(frozen=True, kw_only=True)
class Most:
    """What the guide allows here whatever else fits: a proposal that lowers goes down to it."""

    cache_gib: float = math.inf
    workers_per_rank: int | None = None


UNBOUNDED = Most()


@dataclass(frozen=True)
class Option:
    """The demand once the changes are made."""

    demand: Demand
    changes: tuple[SettingChange, ...] = ()


def host_options(demand: Demand, excess_bytes: int, most: Most = UNBOUNDED) -> Iterator[Option]:
    """A smaller cache, fewer workers, less prefetching; on a CPU the network as well.

    Each option goes further than the one before; `excess_bytes` is what must go. Nothing that is
    lowered stays above `most`, so that no second proposal for the same switch has to follow.
    """
    start = Option(demand)
    cached = list(_smaller_cache(start, excess_bytes, most))
    last = cached[-1] if cached else start
    fewer = list(_fewer_workers(last, most))
    last = fewer[-1] if fewer else last
    less = list(_less_prefetch(last))
    last = less[-1] if less else last
    yield from chain(cached, fewer, less)
    if demand.device == "cpu":
        yield from _leaner_model(start)
        yield from _leaner_model(last)


def shared_options(demand: Demand, most: Most = UNBOUNDED) -> Iterator[Option]:
    """Less prefetching, then fewer workers."""
    start = Option(demand)
    less = list(_less_prefetch(start))
    yield from less
    yield from _fewer_workers(less[-1] if less else start, most)


def gpu_options(demand: Demand) -> Iterator[Option]:
    """What the network's own side proposes."""
    yield from _leaner_model(Option(demand))


def _smaller_cache(option: Option, excess_bytes: int, most: Most) -> Iterator[Option]:
    loader = option.demand.loader
    if not loader.use_cache:
        return
    wanted = min(most.cache_gib, (cache_bytes(option.demand) - excess_bytes) / GIB)
    proposed = int(wanted / CACHE_STEP_GIB) * CACHE_STEP_GIB
    if CACHE_STEP_GIB <= proposed < loader.cache_gib:
        change = SettingChange(
            key="DATA.CACHE_SIZE_GB", current=loader.cache_gib, proposed=proposed
        )
        yield _changed(option, replace(loader, cache_gib=proposed), change)
    off = SettingChange(key="DATA.USE_RAM_CACHE", current=True, proposed=False)
    yield _changed(option, replace(loader, use_cache=False), off)


def _fewer_workers(option: Option, most: Most) -> Iterator[Option]:
    loader, ranks = option.demand.loader, option.demand.ranks
    allowed = loader.workers_per_rank if most.workers_per_rank is None else most.workers_per_rank
    for workers in range(min(loader.workers_per_rank - 1, allowed), 0, -1):
        change = SettingChange(
            key="DATALOADER.TOTAL_WORKERS",
            current=loader.workers_setting,
            proposed=workers * ranks,
        )
        yield _changed(option, with_workers(loader, workers), change)


def with_workers(loader: LoaderDemand, workers: int) -> LoaderDemand:
    """The loader with another number of workers a rank; validation's follow in proportion."""
    before = max(1, loader.workers_per_rank)
    val_workers = -(-workers * loader.val_workers_per_rank // before)
    return replace(loader, workers_per_rank=workers, val_workers_per_rank=val_workers)


def _less_prefetch(option: Option) -> Iterator[Option]:
    loader = option.demand.loader
    for prefetch in _lower(loader.train_prefetch):
        change = SettingChange(
            key="DATALOADER.TRAIN_PREFETCH_FACTOR",
            current=loader.train_prefetch,
            proposed=prefetch,
        )
        yield _changed(option, replace(loader, train_prefetch=prefetch), change)


def _lower(prefetch: int) -> Iterator[int]:
    while prefetch > 1:
        prefetch = min(prefetch - 1, max(FINE_PREFETCH, prefetch // 2))
        yield prefetch


def _leaner_model(option: Option) -> Iterator[Option]:
    for change in option.demand.model_changes:
        demand = replace(option.demand, model=change.model)
        yield Option(demand, (*option.changes, *change.changes))


def _changed(option: Option, loader: LoaderDemand, change: SettingChange) -> Option:
    return Option(replace(option.demand, loader=loader), (*option.changes, change))
