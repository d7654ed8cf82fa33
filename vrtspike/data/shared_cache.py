"""One cache for all loading processes of a machine: every array is kept once.

`DATA.CACHE_SIZE_GB` is what the arrays together may take, whoever put them there. A process may be
killed at any instruction: an entry is served only while its state says that it is whole, and what
a dead process left behind is found by the next one that needs room.

An entry's state goes empty, writing, whole, leaving, empty. Its number of the moment (generation)
goes up with each writing, so a reader that has copied while the entry was replaced notices: the
state is no longer what it was, and the copy is thrown away.
"""

import math
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.cache import CacheStats
from vrtspike.data.cache_memory import CacheMemory, whole_pages

Array = NDArray[np.generic]
Taken = TypeVar("Taken")

_EMPTY, _WRITING, _WHOLE, _LEAVING = range(4)
_STATE, _OFFSET, _BYTES, _USED, _TYPE, _DIMS, _SHAPE, _CHECK = 0, 1, 2, 3, 4, 5, 6, 10
_ROW = 12
_MAX_DIMS = 4
_TYPES = tuple(np.dtype(name) for name in ("u1", "f4", "f2", "u2", "f8", "i1", "i2", "i4", "i8"))
_HITS, _MISSES, _EVICTED, _REFUSED, _NO_ROOM, _ERROR = range(6)
_COUNTERS = 8
_TABLE_LOCK = 0
"""Entry n is locked while it is written, at place n + 1."""

SPARE_ROOM = 2
"""Addresses for so many times the budget, of which only the budget is ever filled: room to lay
entries of different sizes without moving any."""


class SharedCache:
    """Arrays by number, at most `limit_bytes` of them; the least recently used leave first.

    Args:
        memory: At least `bytes_for(...)` of it; new, or attached.
        num_items: How many arrays there could be.
        limit_bytes: What they may take together, in whole pages.
        num_slots: How many processes count hits and misses, each in a row of its own.
        checks: Compares a checksum of the whole entry at every reading.
    """

    def __init__(
        self,
        memory: CacheMemory,
        *,
        num_items: int,
        limit_bytes: int,
        num_slots: int,
        checks: bool = False,
    ) -> None:
        self.limit_bytes = limit_bytes
        self._memory = memory
        self._checks = checks
        self._rows = memory.words(0, num_items, _ROW)
        self._counts = memory.words(num_items * _ROW * 8, num_slots, _COUNTERS)
        # The same numbers for who looks at one row only: a tenth of the time of an array.
        self._row_words = self._rows.reshape(-1).data
        self._count_words = self._counts.reshape(-1).data
        self._views: dict[int, tuple[int, Array]] = {}
        self._first = self.table_bytes(num_items, num_slots)
        self._end = memory.num_bytes
        self.corrupt = 0

    @staticmethod
    def bytes_for(num_items: int, limit_bytes: int, num_slots: int) -> int:
        """How large the memory has to be."""
        return SharedCache.table_bytes(num_items, num_slots) + whole_pages(SPARE_ROOM * limit_bytes)

    @staticmethod
    def table_bytes(num_items: int, num_slots: int) -> int:
        """How much of its beginning is stored into, and so must have room from the start."""
        return whole_pages(num_items * _ROW * 8 + num_slots * _COUNTERS * 8)

    def read(self, item: int, slot: int, take: Callable[[Array], Taken]) -> Taken | None:
        """What `take` copies out of an entry, which becomes the most recently used.

        Args:
            item: The array's number.
            slot: The row that counts the look-up.
            take: Gets the array, read-only; must copy what it needs of it, and not return None.

        Returns:
            None if the entry is not here, or left while it was copied.
        """
        words, start = self._row_words, item * _ROW
        state = words[start + _STATE]
        entry = self._entry(item, state) if state & 3 == _WHOLE else None
        taken = None if entry is None else take(entry)
        if entry is None or taken is None or not self._is_whole(item, state, entry):
            self._count_words[slot * _COUNTERS + _MISSES] += 1
            return None
        words[start + _USED] = time.monotonic_ns()
        self._count_words[slot * _COUNTERS + _HITS] += 1
        return taken

    def put(self, item: int, slot: int, value: Array) -> bool:
        """Keeps a copy of an array; False if it is larger than the limit, or has no room now.

        Another process may be writing the same entry, or all the room; nobody waits for it.
        Where the system gives no lock, nothing is kept.
        """
        size = whole_pages(max(1, value.nbytes))
        fits = value.nbytes > 0 and size <= self.limit_bytes
        if not fits or value.ndim > _MAX_DIMS or value.dtype not in _TYPES:
            self._counts[slot, _REFUSED] += 1
            return False
        try:
            with self._memory.locked(_TABLE_LOCK):
                offset = self._reserve(item, size, slot)
                if offset is None:
                    return False
                self._describe(item, offset, value)
        except OSError:  # no lock is held now: a row that says "writing" is a dead process's
            return False
        try:
            return self._fill(item, offset, value, slot)
        finally:
            with suppress(OSError):  # given back with all others
                self._memory.unlock(1 + item)

    def stats(self) -> CacheStats:
        """Counts of everybody who uses the cache.

        Raises:
            OSError: the disk that holds it has failed; to look at its table would end this process.
        """
        words = self._memory.copied_words(self._rows.nbytes + self._counts.nbytes)
        rows = words[: self._rows.size].reshape(self._rows.shape)
        counts = words[self._rows.size :].reshape(self._counts.shape).sum(axis=0)
        kept = rows[:, _STATE] & 3 != _EMPTY
        return CacheStats(
            items=int(kept.sum()),
            memory_bytes=int(_pages(rows[kept, _BYTES]).sum()),
            limit_bytes=self.limit_bytes,
            hits=int(counts[_HITS]),
            misses=int(counts[_MISSES]),
            evicted=int(counts[_EVICTED]),
            refused=int(counts[_REFUSED]),
            no_room=int(counts[_NO_ROOM]),
        )

    def no_room(self) -> tuple[int, int]:
        """How often the system had no room for an entry within the limit, and an error's number.

        Raises:
            OSError: as `stats`.
        """
        words = self._memory.copied_words(self._counts.nbytes, self._rows.nbytes)
        counts = words.reshape(self._counts.shape)
        return int(counts[:, _NO_ROOM].sum()), int(counts[:, _ERROR].max())

    def _entry(self, item: int, state: int) -> Array | None:
        """The array of a row; None where the row has changed under our eyes."""
        known = self._views.get(item)
        if known is not None and known[0] == state:  # the row is that of this generation
            return known[1]
        row = self._row_words[item * _ROW : (item + 1) * _ROW].tolist()
        entry = self._view(row)
        if entry is not None and row[_STATE] == self._row_words[item * _ROW + _STATE] == state:
            self._views[item] = state, entry
        return entry

    def _view(self, row: Sequence[int]) -> Array | None:
        kind, offset, dims = row[_TYPE], row[_OFFSET], row[_DIMS]
        if not 0 <= kind < len(_TYPES) or not self._first <= offset < self._end:
            return None
        shape = tuple(row[_SHAPE : _SHAPE + dims % (_MAX_DIMS + 1)])
        if min(shape, default=-1) < 0:
            return None
        if offset + math.prod(shape) * _TYPES[kind].itemsize > self._end:
            return None
        return self._memory.view(offset, shape, _TYPES[kind])

    def _is_whole(self, item: int, state: int, entry: Array) -> bool:
        """Whether the entry is still the one that was begun with, and undamaged."""
        words, start = self._row_words, item * _ROW
        is_damaged = self._checks and _checksum(entry) != words[start + _CHECK]
        if words[start + _STATE] != state:
            return False
        self.corrupt += is_damaged
        return not is_damaged

    def _reserve(self, item: int, size: int, slot: int) -> int | None:
        """Room for an entry, whose lock is then held; None if there is none. Needs the lock."""
        self._finish_leaving()
        state = int(self._rows[item, _STATE]) & 3
        if state == _WHOLE or not self._memory.try_lock(1 + item):
            return None
        if state == _WRITING:  # who wrote it is dead: its lock was free
            self._leave([item])
        offset = self._make_room(item, size, slot)
        if offset is None:
            self._memory.unlock(1 + item)
        return offset

    def _make_room(self, item: int, size: int, slot: int) -> int | None:
        kept = self._rows[:, _STATE] & 3 != _EMPTY
        used = int(_pages(self._rows[kept, _BYTES]).sum())
        leaving = iter(self._by_last_use())
        while used + size > self.limit_bytes or (offset := self._gap(size)) is None:
            oldest = next(leaving, None)
            if oldest is None:
                return None
            if not self._may_leave(oldest, item):
                continue
            used -= int(_pages(self._rows[oldest, _BYTES]))
            self._leave([oldest])
            self._counts[slot, _EVICTED] += 1
        return offset

    def _by_last_use(self) -> Sequence[int]:
        """Entries in the order in which they leave: half-written ones are older than all others."""
        code = self._rows[:, _STATE] & 3
        kept = np.flatnonzero(code != _EMPTY)
        used = np.where(code[kept] == _WRITING, -1, self._rows[kept, _USED])
        return [int(each) for each in kept[np.argsort(used, kind="stable")]]

    def _may_leave(self, entry: int, item: int) -> bool:
        """Whether nobody is writing it; the lock of our own entry is ours already."""
        if int(self._rows[entry, _STATE]) & 3 == _WHOLE or entry == item:
            return True
        if not self._memory.try_lock(1 + entry):
            return False
        self._memory.unlock(1 + entry)
        return True

    def _gap(self, size: int) -> int | None:
        """The first free range of that size."""
        kept = self._rows[self._rows[:, _STATE] & 3 != _EMPTY]
        starts = np.sort(kept[:, _OFFSET])
        ends = np.sort(kept[:, _OFFSET] + _pages(kept[:, _BYTES]))
        before = np.concatenate(([self._first], ends))
        after = np.concatenate((starts, [self._end]))
        fits = np.flatnonzero(after - before >= size)
        return int(before[fits[0]]) if len(fits) else None

    def _leave(self, entries: Sequence[int]) -> None:
        for entry in entries:
            row = self._rows[entry]
            row[_STATE] = (int(row[_STATE]) & ~3) | _LEAVING
            self._memory.free(int(row[_OFFSET]), int(_pages(row[_BYTES])))
            row[_STATE] = (int(row[_STATE]) & ~3) | _EMPTY

    def _finish_leaving(self) -> None:
        """Whoever was letting these go has died: with the table's lock held nobody else does."""
        self._leave([int(n) for n in np.flatnonzero(self._rows[:, _STATE] & 3 == _LEAVING)])

    def _describe(self, item: int, offset: int, value: Array) -> None:
        row = self._rows[item]
        shape = (*value.shape, *[1] * (_MAX_DIMS - value.ndim))
        # The state goes last: until then the row counts as empty.
        row[_OFFSET], row[_BYTES], row[_USED] = offset, value.nbytes, time.monotonic_ns()
        row[_TYPE], row[_DIMS] = _TYPES.index(value.dtype), value.ndim
        row[_SHAPE : _SHAPE + _MAX_DIMS] = shape
        row[_STATE] = ((int(row[_STATE]) >> 2) + 1 << 2) | _WRITING

    def _fill(self, item: int, offset: int, value: Array, slot: int) -> bool:
        row, whole = self._rows[item], _bytes_of(value)
        try:
            self._memory.write(offset, whole)
        except OSError as error:  # no room, whatever the limit said
            self._counts[slot, _ERROR] = error.errno or 0
            self._counts[slot, _NO_ROOM] += 1
            with suppress(OSError), self._memory.locked(_TABLE_LOCK):
                self._leave([item])
            return False
        row[_CHECK] = zlib.crc32(whole) if self._checks else 0
        row[_STATE] = (int(row[_STATE]) & ~3) | _WHOLE
        return True


def _pages(num_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    page = whole_pages(1)
    rounded: NDArray[np.int64] = -(-np.maximum(num_bytes, 1) // page) * page
    return rounded


def _checksum(value: Array) -> int:
    return zlib.crc32(_bytes_of(value))


def _bytes_of(value: Array) -> memoryview:
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
