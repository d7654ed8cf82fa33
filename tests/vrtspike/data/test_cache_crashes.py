"""What a process killed at some instruction of the machine's cache leaves is given back."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from vrtspike.data.cache_memory import PAGE_BYTES, CacheMemory
from vrtspike.data.shared_cache import SharedCache

ITEMS = 8


def make(limit_pages: float, checks: bool = True) -> SharedCache:
    limit = int(limit_pages * PAGE_BYTES)
    memory = CacheMemory.make(SharedCache.bytes_for(ITEMS, limit, 1))
    return SharedCache(memory, num_items=ITEMS, limit_bytes=limit, num_slots=1, checks=checks)


def content(item: int, pages: int = 1) -> np.ndarray:
    return np.random.default_rng(item).integers(1, 256, pages * PAGE_BYTES, np.uint8)


def found(cache: SharedCache, item: int) -> np.ndarray | None:
    return cache.read(item, 0, np.array)


def pages_in_memory(cache: SharedCache) -> int:
    """Of the entries: without those of the table, all of which are in use."""
    blocks = os.fstat(cache._memory.address.descriptor).st_blocks * 512
    return (blocks - cache._first) // PAGE_BYTES


def put_and_die(cache: SharedCache, item: int, value: np.ndarray, where: str) -> None:
    """Another process puts an array, and is killed at `where` (half of it written, or leaving)."""
    child = os.fork()
    if child == 0:
        whole_write, whole_free = cache._memory.write, cache._memory.free

        def half_write(start, data):
            whole_write(start, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

        def half_free(start, num_bytes):
            whole_free(start, num_bytes // 2)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(
            cache._memory, *(("write", half_write) if where == "write" else ("free", half_free))
        )
        cache.put(item, 0, value)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("pages", [1, 3, 6])
def test_pages_of_a_dead_writer_are_given_back_before_its_entry_is_written_anew(pages):
    cache = make(16)
    assert cache.put(0, 0, content(0))
    put_and_die(cache, 1, content(1, 4), "write")
    assert pages_in_memory(cache) == 1 + 2
    assert found(cache, 1) is None
    assert cache.put(1, 0, content(1, pages))
    assert pages_in_memory(cache) == 1 + pages
    assert cache.stats().memory_bytes == (1 + pages) * PAGE_BYTES
    np.testing.assert_array_equal(found(cache, 1), content(1, pages))
    np.testing.assert_array_equal(found(cache, 0), content(0))


def test_an_entry_whose_remover_died_is_served_no_more_though_nothing_is_checked():
    cache = make(4, checks=False)
    assert cache.put(0, 0, content(0, 4))
    put_and_die(cache, 1, content(1, 2), "free")
    assert found(cache, 0) is None
    assert cache.put(2, 0, content(2, 4))
    assert pages_in_memory(cache) == 4
    np.testing.assert_array_equal(found(cache, 2), content(2, 4))


def test_what_is_here_is_not_written_again():
    cache = make(4)
    assert cache.put(0, 0, content(0))
    assert not cache.put(0, 0, content(1))
    np.testing.assert_array_equal(found(cache, 0), content(0))
    assert pages_in_memory(cache) == 1


@pytest.mark.parametrize(("column", "value"), [(6, -1), (6, 1 << 40), (1, 1 << 50), (4, 9)])
def test_a_row_that_is_no_entrys_is_a_miss(column, value):
    cache = make(4, checks=False)
    assert cache.put(0, 0, content(0))
    cache._rows[0, column] = value
    assert found(cache, 0) is None


def test_a_budget_counts_whole_pages():
    cache = make(1.5)
    assert not cache.put(0, 0, np.ones(PAGE_BYTES + 1, np.uint8))
    assert cache.stats().refused == 1


def test_room_of_the_very_size_is_used_again():
    cache = make(4)
    for item in (0, 1):
        assert cache.put(item, 0, content(item, 2))
    first = int(cache._rows[0, 1])
    assert cache.put(2, 0, content(2, 2))
    assert int(cache._rows[2, 1]) == first


def test_writes_that_the_system_cuts_short_go_on(monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, start: real(fd, data[:1000], start))
    cache = make(4)
    assert cache.put(0, 0, content(0, 2))
    np.testing.assert_array_equal(found(cache, 0), content(0, 2))


def test_a_file_system_without_holes_is_asked_once(monkeypatch):
    class NoHoles:
        asked = 0

        def madvise(self, *_):
            self.asked += 1
            raise OSError(95, "Operation not supported")

    cache, none = make(4), NoHoles()
    monkeypatch.setattr(cache._memory, "_map", none)
    for item in range(ITEMS):
        assert cache.put(item, 0, content(item, 2))
    assert none.asked == 1


def test_memory_of_another_size_is_not_taken_for_the_announced_one():
    cache = make(4)
    address = replace(cache._memory.address, num_bytes=PAGE_BYTES)
    with pytest.raises(OSError, match="not the memory that was announced"):
        CacheMemory.attach(address)
    assert not os.get_inheritable(cache._memory.address.descriptor)
