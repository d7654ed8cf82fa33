"""A system that refuses locks or memory does no harm to the machine's cache."""

import errno
import fcntl
import gc
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from vrtspike.data import cache_memory
from vrtspike.data.cache import CacheShare
from vrtspike.data.cache_memory import PAGE_BYTES, CacheMemory
from vrtspike.data.machine_cache import CacheJob, MachineCache, join_caches
from vrtspike.data.shared_cache import SharedCache

TABLE, ENTRY = 0, 3
ITEM = ENTRY - 1
REAL_LOCK = fcntl.lockf


class Locks:
    """The system's locks, of which those asked for with `wanted(command, place)` fail once each."""

    def __init__(self, monkeypatch) -> None:
        self.refused = []
        self._wanted = []
        monkeypatch.setattr(cache_memory.fcntl, "lockf", self._lock)

    def refuse(self, command: int, place: int, times: int = 1) -> None:
        self._wanted += [(command, place)] * times

    def _lock(self, descriptor, command, length=0, start=0):
        asked = (command & ~fcntl.LOCK_NB, start if length else None)
        if asked in self._wanted:
            self._wanted.remove(asked)
            self.refused.append(asked)
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return REAL_LOCK(descriptor, command, length, start)


@pytest.fixture
def locks(monkeypatch):
    return Locks(monkeypatch)


@pytest.fixture
def cache():
    limit = 4 * PAGE_BYTES
    memory = CacheMemory.make(SharedCache.bytes_for(8, limit, 1))
    return SharedCache(memory, num_items=8, limit_bytes=limit, num_slots=1, checks=True)


def content(item: int) -> np.ndarray:
    return np.random.default_rng(item).integers(0, 256, PAGE_BYTES, np.uint8)


def found(cache: SharedCache, item: int) -> np.ndarray | None:
    return cache.read(item, 0, np.array)


def another_process_can_lock(cache: SharedCache, *places: int) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if all(cache._memory.try_lock(place) for place in places) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("command", "place"),
    [(fcntl.LOCK_EX, TABLE), (fcntl.LOCK_EX, ENTRY), (fcntl.LOCK_UN, TABLE)],
)
def test_without_a_lock_nothing_is_kept_and_nobody_is_kept_out(cache, locks, command, place):
    cache.put(0, 0, content(0))
    locks.refuse(command, place)
    assert not cache.put(ITEM, 0, content(ITEM))
    assert locks.refused == [(command, place)]
    assert found(cache, ITEM) is None
    assert another_process_can_lock(cache, TABLE, ENTRY)
    np.testing.assert_array_equal(found(cache, 0), content(0))
    assert cache.put(ITEM, 0, content(ITEM))
    np.testing.assert_array_equal(found(cache, ITEM), content(ITEM))


def test_a_lock_that_cannot_be_given_back_alone_goes_with_all_others(cache, locks):
    locks.refuse(fcntl.LOCK_UN, ENTRY)
    assert cache.put(ITEM, 0, content(ITEM))
    assert locks.refused
    np.testing.assert_array_equal(found(cache, ITEM), content(ITEM))
    assert another_process_can_lock(cache, TABLE, ENTRY)


def test_a_half_written_entry_without_a_lock_to_clear_it_is_cleared_by_the_next(
    cache, locks, monkeypatch
):
    def no_room(start, data):
        locks.refuse(fcntl.LOCK_EX, TABLE)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(cache._memory, "write", no_room)
        assert not cache.put(ITEM, 0, content(ITEM))
    assert locks.refused == [(fcntl.LOCK_EX, TABLE)]
    assert found(cache, ITEM) is None
    assert another_process_can_lock(cache, TABLE, ENTRY)
    assert cache.put(ITEM, 0, content(ITEM))
    np.testing.assert_array_equal(found(cache, ITEM), content(ITEM))
    assert cache.stats().memory_bytes == PAGE_BYTES


def test_letting_a_dead_writers_entry_go_without_a_lock_keeps_the_others(cache, locks):
    for item in range(4):
        cache.put(item, 0, content(item))
    cache._rows[1, 0] = (cache._rows[1, 0] & ~3) | 1  # writing, by nobody
    locks.refuse(fcntl.LOCK_UN, 1 + 1)
    assert not cache.put(5, 0, content(5))
    assert another_process_can_lock(cache, TABLE, 1 + 1, 1 + 5)
    assert cache.put(5, 0, content(5))
    for item in (0, 2, 3, 5):
        np.testing.assert_array_equal(found(cache, item), content(item))


def test_a_file_system_without_locks_divides_the_budget(locks, tmp_path):
    locks.refuse(fcntl.LOCK_EX, None)
    before = open_descriptors()
    job = CacheJob(machine_bytes=1 << 20, workers=2, local_ranks=1, folder=tmp_path)
    caches, line = join_caches(["blur:0.png"], job)
    assert isinstance(caches, CacheShare)
    assert os.strerror(errno.ENOLCK) in line
    del caches  # whose counters lie in shared memory
    assert open_descriptors() == before


def open_descriptors() -> list[str]:
    gc.collect()
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


def test_memory_that_cannot_be_mapped_leaves_no_descriptor(cache, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    before = open_descriptors()
    monkeypatch.setattr(cache_memory.mmap, "mmap", refuse)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        CacheMemory.attach(cache._memory.address)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        CacheMemory.make(mmap.PAGESIZE)
    assert open_descriptors() == before


def test_a_cache_that_nobody_has_any_more_is_closed(cache):
    before = open_descriptors()
    memory = CacheMemory.attach(cache._memory.address)
    assert len(open_descriptors()) == len(before) + 2  # ours, and the mapping's own
    del memory
    assert open_descriptors() == before
    joined, _ = join_caches(["a"], CacheJob(machine_bytes=1 << 20, workers=1, local_ranks=1))
    assert isinstance(joined, MachineCache)
    assert joined.open(1).put("a", content(1))
    del joined
    assert open_descriptors() == before
