"""What a process killed at some instruction of the machine's cache leaves is given back."""

import os
import signal

import numpy as np
import pytest

from vrtspike.data.cache_memory import PAGE_BYTES, CacheMemory
from vrtspike.data.shared_cache import SharedCache

ITEMS = 8


def make(limit_pages: int) -> SharedCache:
    limit = limit_pages * PAGE_BYTES
    memory = CacheMemory.make(SharedCache.bytes_for(ITEMS, limit, 1))
    return SharedCache(memory, num_items=ITEMS, limit_bytes=limit, num_slots=1, checks=True)


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
