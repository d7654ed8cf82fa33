"""How the ranks of a machine come to one cache, and what the data set sees of it."""

import errno
import hashlib
import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.cache import CacheShare, CacheStats
from vrtspike.data.cache_memory import CacheMemory, MemoryAddress
from vrtspike.data.shared_cache import SharedCache

Array = NDArray[np.generic]
Taken = TypeVar("Taken")
Gather = Callable[[Any], list[Any]]
"""Every rank's value, in rank order, on every rank; all ranks call it together."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FrameCache(Protocol):
    """What one loading process looks arrays up in."""

    def read(self, key: str, take: Callable[[Array], Taken]) -> Taken | None:
        """What `take`, which returns no None, copies out of an entry; None if it is not here."""
        ...

    def put(self, key: str, value: Array) -> bool:
        """Keeps an array; whether there is room for it."""
        ...


class Caches(Protocol):
    """The caches of one rank's loading processes; slot 0 is the process that owns the data set."""

    def may_open(self, slot: int) -> bool:
        """Whether this process loads, and so may cache."""
        ...

    def open(self, slot: int) -> FrameCache:
        """The cache of one loading process."""
        ...

    def stats(self) -> CacheStats:
        """Counts of all of them together."""
        ...

    def trouble(self) -> str:
        """Why it keeps less than the budget allows, if so; cheap enough to ask often."""
        ...

    def line(self) -> str:
        """What a person should know about the budget, in one line."""
        ...


@dataclass(frozen=True, kw_only=True)
class CacheJob:
    """Who shares a cache: `workers` loading processes of each rank, and the way to the others.

    `checks` compares a checksum at every reading, which costs far more than the reading itself.
    """

    machine_bytes: int
    workers: int
    local_ranks: int
    rank: int = 0
    gather: Gather | None = None
    folder: Path | None = None
    checks: bool = False


class MachineCache:
    """One rank's door to the cache of its machine."""

    def __init__(
        self,
        cache: SharedCache,
        numbers: Mapping[str, int],
        job: CacheJob,
        ranks: Sequence[int],
    ) -> None:
        """Of rank `job.rank`; `ranks` are those of the machine, in order."""
        self._cache = cache
        self._numbers = numbers
        self._job = job
        self._first_rank = ranks[0]
        self._first_slot = ranks.index(job.rank) * (job.workers + 1)

    def may_open(self, slot: int) -> bool:
        """Slot 0 only loads, and so may only cache, where there are no workers."""
        return slot > 0 or self._job.workers == 0

    def open(self, slot: int) -> "_Door":
        """The cache of one loading process."""
        return _Door(self._cache, self._numbers, self._first_slot + slot)

    def stats(self) -> CacheStats:
        """Counts of every loading process of the machine."""
        return replace(self._cache.stats(), first_rank=self._first_rank)

    def trouble(self) -> str:
        """What the system said when it had no room for more, and the cure; empty where it had.

        Raises:
            OSError: the disk that holds the cache has failed.
        """
        times, number = self._cache.no_room()
        if not times:
            return ""
        folder, stats = self._job.folder, self._cache.stats()
        full = "is full" if number in _FULL else "takes no more"
        return (
            f"{'the memory of the cache' if folder is None else f'CACHE_DIR {folder}'} {full}: "
            f"{os.strerror(number)}, with {stats.memory_bytes / 2**20:.1f} of "
            f"{stats.limit_bytes / 2**20:.1f} MB in the cache, which keeps no others; give it room "
            "or lower CACHE_SIZE_GB"
        )

    def line(self) -> str:
        """What a person should know about the budget, in one line."""
        job = self._job
        count = max(1, job.workers) * job.local_ranks
        where = "in memory" if job.folder is None else f"in {job.folder}"
        return (
            f"CACHE_SIZE_GB {job.machine_bytes / 2**30:g} GiB for this machine: one cache {where}, "
            f"shared by {count} loading process{'es' if count > 1 else ''}"
        )


@dataclass(frozen=True)
class _Door:
    """The shared cache under the keys of a data set; what it does not know is not kept."""

    cache: SharedCache
    numbers: Mapping[str, int]
    slot: int

    def read(self, key: str, take: Callable[[Array], Taken]) -> Taken | None:
        number = self.numbers.get(key)
        return None if number is None else self.cache.read(number, self.slot, take)

    def put(self, key: str, value: Array) -> bool:
        number = self.numbers.get(key)
        return number is not None and self.cache.put(number, self.slot, value)


@dataclass(frozen=True)
class _Offer:
    keys: str
    address: MemoryAddress | None


@dataclass(frozen=True)
class _Size:
    num_items: int
    limit_bytes: int
    num_slots: int


def join_caches(keys: Sequence[str], job: CacheJob) -> tuple[Caches, str]:
    """The cache of this rank's machine; all ranks call it together.

    Where a machine has no such memory, or its ranks cannot reach each other's, each loading
    process gets an equal part of the budget for itself.

    Args:
        keys: Every array that the data set could ask for, in the same order on every rank.
        job: Who shares it.

    Returns:
        The cache, and a line that says how the budget is shared out.

    Raises:
        DataError: the folder for it cannot be written to.
    """
    alone = CacheShare(
        job.machine_bytes, workers=job.workers, local_ranks=job.local_ranks, rank=job.rank
    )
    if not _can_share() or job.machine_bytes <= 0 or not keys:
        return alone, alone.line()
    gather = job.gather or (lambda value: [value])
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    machine = _machine()
    ranks = [rank for rank, other in enumerate(gather(machine)) if other == machine]
    size = _Size(len(numbers), job.machine_bytes, len(ranks) * (job.workers + 1))
    digest = _digest(numbers, size)
    memory, problem = _make(size, job.folder) if ranks[0] == job.rank else (None, "")
    offers = gather(_Offer(digest, None if memory is None else memory.address))
    if memory is None and not problem:
        memory, problem = _attach(offers[ranks[0]], digest)
    # The memory has no name: who made it must not let go before everybody has it.
    problems = [text for where, text in gather((machine, problem)) if where == machine and text]
    if problems or memory is None:
        return alone, f"{alone.line()}; no shared cache: {problems[0]}"
    cache = SharedCache(
        memory,
        num_items=size.num_items,
        limit_bytes=size.limit_bytes,
        num_slots=size.num_slots,
        checks=job.checks,
    )
    joined = MachineCache(cache, numbers, job, ranks)
    return joined, joined.line()


def _make(size: _Size, folder: Path | None) -> tuple[CacheMemory | None, str]:
    num_bytes = SharedCache.bytes_for(size.num_items, size.limit_bytes, size.num_slots)
    table_bytes = SharedCache.table_bytes(size.num_items, size.num_slots)
    try:
        return CacheMemory.make(num_bytes, folder, kept_bytes=table_bytes), ""
    except OSError as error:
        return None, f"{error.strerror or error}"


def _attach(offer: _Offer, digest: str) -> tuple[CacheMemory | None, str]:
    if offer.address is None:
        return None, "the machine's first rank has none"
    if offer.keys != digest:
        return None, "the ranks see different files"
    try:
        return CacheMemory.attach(offer.address), ""
    except OSError as error:
        return None, f"{error.strerror or error} ({offer.address.path})"


def _can_share() -> bool:
    """Workers have to inherit the memory, which only forked ones do."""
    return hasattr(os, "memfd_create") and "fork" in multiprocessing.get_all_start_methods()


def _machine() -> str:
    try:
        boot = _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        boot = ""
    return f"{socket.gethostname()} {boot}"


def _digest(numbers: Mapping[str, int], size: _Size) -> str:
    named = "\n".join((*numbers, str(size)))
    return hashlib.sha256(named.encode("utf-8", "surrogateescape")).hexdigest()
