"""A byte-bounded least-recently-used cache of arrays, with statistics that stay true.

Of one process alone: where a machine's processes cannot share one cache (`machine_cache`), each
gets its part of `CACHE_SIZE_GB`, and the counters of all of them lie in shared memory.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vrtspike.data.nameless import shared_zeros

Array = NDArray[np.generic]
Taken = TypeVar("Taken")
_ITEMS, _BYTES, _HITS, _MISSES, _EVICTED, _REFUSED = range(6)


@dataclass(frozen=True, kw_only=True)
class CacheStats:
    """Counts of one cache, or of several together. `refused` items were larger than the limit.

    `no_room` counts items that would have fitted, but the system had no room for them.
    `first_rank` is the lowest rank whose look-ups are counted: where the ranks of a machine share
    a cache, all of them tell of the same counts and name the same rank.
    """

    items: int
    memory_bytes: int
    limit_bytes: int
    hits: int
    misses: int
    evicted: int
    refused: int
    no_room: int = 0
    first_rank: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Hits per look-up, 0..1; None before the first look-up."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else None

    def text(self, owner: str) -> str:
        """The block that the performance guide documents; its MB are 1024-based."""
        rate = self.hit_rate
        shown = "n/a" if rate is None else f"{rate:.2%}"
        lines = [
            f"[{owner}] Cache Stats:",
            f"  - Size: {self.items} items",
            f"  - Memory: {self.memory_bytes / 2**20:.1f} / {self.limit_bytes / 2**20:.1f} MB",
            f"  - Hit Rate: {shown} ({self.hits} hits / {self.misses} misses)",
        ]
        if self.refused:
            lines.append(f"  - Refused: {self.refused} items larger than the limit")
        if self.no_room:
            lines.append(f"  - No room: {self.no_room} times")
        return "\n".join(lines)


class LRUCache:
    """Arrays by key, at most `max_memory_bytes` of them; the least recently used leave first."""

    def __init__(self, max_memory_bytes: int, counters: torch.Tensor | None = None) -> None:
        """Start empty; `counters` (6,) int64 may lie in shared memory for others to read."""
        self.max_memory_bytes = max_memory_bytes
        self._entries: OrderedDict[str, Array] = OrderedDict()
        self._counters = torch.zeros(6, dtype=torch.int64) if counters is None else counters
        self._counters[[_ITEMS, _BYTES]] = 0  # what an earlier owner of this row held is gone
        self._count = self._counters.numpy()

    def get(self, key: str) -> Array | None:
        """A copy of the entry, which becomes the most recently used; None if it is not here."""
        entry = self.view(key)
        return None if entry is None else entry.copy()

    def view(self, key: str) -> Array | None:
        """As `get`, but the entry itself, read-only: it costs no copy."""
        entry = self._entries.get(key)
        self._count[_MISSES if entry is None else _HITS] += 1
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def read(self, key: str, take: Callable[[Array], Taken]) -> Taken | None:
        """What `take`, which returns no None, copies out of the entry; None if it is not here."""
        entry = self.view(key)
        return None if entry is None else take(entry)

    def put(self, key: str, value: Array) -> bool:
        """Keep a copy-free, read-only view of `value`; False if it is larger than the limit."""
        earlier = self._entries.pop(key, None)
        if earlier is not None:
            self._forget(earlier)
        if value.nbytes > self.max_memory_bytes:
            self._count[_REFUSED] += 1
            return False
        while self._count[_BYTES] + value.nbytes > self.max_memory_bytes:
            self._forget(self._entries.popitem(last=False)[1])
            self._count[_EVICTED] += 1
        # A view would keep the whole of its base alive: the byte count would be a lie.
        kept = value if value.base is None else value.copy()
        kept.flags.writeable = False
        self._entries[key] = kept
        self._count[_ITEMS] += 1
        self._count[_BYTES] += kept.nbytes
        return True

    def clear(self) -> None:
        """Drop all entries; the counts of hits and misses stay."""
        self._entries.clear()
        self._count[[_ITEMS, _BYTES]] = 0

    def stats(self) -> CacheStats:
        """Counts now."""
        return _stats(self._counters, self.max_memory_bytes)

    def print_cache_stats(self, owner: str = "LRUCache") -> None:
        """Print `stats` as the performance guide documents it."""
        print(self.stats().text(owner), flush=True)

    def __len__(self) -> int:
        return len(self._entries)

    def _forget(self, entry: Array) -> None:
        self._count[_ITEMS] -= 1
        self._count[_BYTES] -= entry.nbytes


def shared_counters(*shape: int) -> torch.Tensor:
    """Zeros, int64, that worker processes see and may change."""
    return shared_zeros(*shape)


class CacheShare:
    """One rank's part of the machine's cache budget, split among its loading processes.

    `slot` 0 is the process that owns the data set, 1.. are its workers. Caches are made in the
    process that uses them; the counters of all slots are in shared memory.
    """

    def __init__(
        self, machine_bytes: int, *, workers: int, local_ranks: int, rank: int = 0
    ) -> None:
        """Divide `machine_bytes` by local ranks and by loading processes of rank `rank`."""
        self.rank = rank
        self.workers = workers
        self.processes = max(1, workers)
        self.process_bytes = machine_bytes // (self.processes * max(1, local_ranks))
        self.machine_bytes = machine_bytes
        self.local_ranks = local_ranks
        self._counters = shared_counters(workers + 1, 6)

    def may_open(self, slot: int) -> bool:
        """Slot 0 only loads, and so may only cache, where there are no workers."""
        return slot > 0 or self.workers == 0

    def open(self, slot: int) -> LRUCache:
        """The cache of one loading process; call it once in that process."""
        return LRUCache(self.process_bytes, self._counters[slot])

    def stats(self) -> CacheStats:
        """Counts of all loading processes of this rank together."""
        counts = _stats(self._counters.sum(dim=0), self.process_bytes * self.processes)
        return replace(counts, first_rank=self.rank)

    def trouble(self) -> str:
        """Never any: each process keeps its arrays in its own memory."""
        return ""

    def line(self) -> str:
        """What a person should know about the budget, in one line."""
        gib = self.machine_bytes / 2**30
        count = self.processes * self.local_ranks
        return (
            f"CACHE_SIZE_GB {gib:g} GiB for this machine, divided among {count} loading "
            f"processes: {self.process_bytes / 2**20:.1f} MiB each (a frame may be kept by several)"
        )


def _stats(counters: torch.Tensor, limit_bytes: int) -> CacheStats:
    items, memory, hits, misses, evicted, refused = (int(value) for value in counters)
    return CacheStats(
        items=items,
        memory_bytes=memory,
        limit_bytes=limit_bytes,
        hits=hits,
        misses=misses,
        evicted=evicted,
        refused=refused,
    )
