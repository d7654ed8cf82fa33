"""The machine's cache: what it keeps, what it drops, and what it never serves."""

import os
import random
import signal
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrtspike.data.cache_memory import PAGE_BYTES, CacheMemory, whole_pages
from vrtspike.data.shared_cache import SharedCache
from vrtspike.errors import DataError


def make(limit_pages: int, items: int = 40, slots: int = 1, folder: Path | None = None):
    limit = limit_pages * PAGE_BYTES
    memory = CacheMemory.make(SharedCache.bytes_for(items, limit, slots), folder)
    return SharedCache(memory, num_items=items, limit_bytes=limit, num_slots=slots, checks=True)


def content(item: int, pages: int = 1, seed: int = 0) -> np.ndarray:
    size = pages * PAGE_BYTES - item % 7
    return np.random.default_rng([item, seed]).integers(0, 256, size, np.uint8)


def found(cache: SharedCache, item: int) -> np.ndarray | None:
    return cache.read(item, 0, np.array)


def test_what_was_put_comes_back_in_its_shape_and_type():
    cache = make(8)
    picture = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    voxels = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    assert cache.put(3, 0, picture)
    assert cache.put(4, 0, voxels.transpose(1, 0, 2))
    np.testing.assert_array_equal(found(cache, 3), picture)
    np.testing.assert_array_equal(found(cache, 4), voxels.transpose(1, 0, 2))
    assert found(cache, 5) is None
    crop = cache.read(3, 0, lambda whole: whole[2:4, 1:3].copy())
    np.testing.assert_array_equal(crop, picture[2:4, 1:3])


def test_what_is_read_cannot_be_written_to():
    cache = make(4)
    cache.put(0, 0, content(0))

    def spoil(whole):
        whole[0] = 1
        return whole

    with pytest.raises(ValueError, match="read-only"):
        cache.read(0, 0, spoil)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 19), st.integers(1, 4)), max_size=120),
    st.integers(1, 12),
)
def test_it_is_a_least_recently_used_cache_of_pages(asked, limit_pages):
    cache, model = make(limit_pages, items=20), OrderedDict()
    sizes = {}
    hits = 0
    for item, pages in asked:
        pages = sizes.setdefault(item, pages)
        if found(cache, item) is not None:
            assert item in model
            model.move_to_end(item)
            hits += 1
            continue
        assert item not in model
        kept = cache.put(item, 0, content(item, pages))
        assert kept == (pages <= limit_pages)
        if kept:
            while sum(sizes[each] for each in model) + pages > limit_pages:
                model.popitem(last=False)
            model[item] = None
        stats = cache.stats()
        assert stats.memory_bytes <= limit_pages * PAGE_BYTES
        assert stats.items == len(model)
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (hits, len(asked) - hits)
    for item in model:
        np.testing.assert_array_equal(found(cache, item), content(item, sizes[item]))
    assert cache.corrupt == 0


def test_what_leaves_gives_its_memory_back():
    cache = make(64, items=200)
    descriptor = cache._memory.address.descriptor
    for item in range(200):
        cache.put(item, 0, content(item, pages=4))
    blocks = os.fstat(descriptor).st_blocks * 512
    table = cache._first
    assert blocks <= table + 64 * PAGE_BYTES
    assert cache.stats().evicted == 200 - 16


def test_an_entry_that_was_replaced_while_it_was_copied_is_a_miss():
    cache = make(2, items=4)
    cache.put(0, 0, content(0, pages=2))

    def replaced(whole):
        copied = whole.copy()
        cache.put(1, 0, content(1, pages=2))
        cache.put(0, 0, content(0, pages=2, seed=1))
        return copied

    assert cache.read(0, 0, replaced) is None
    np.testing.assert_array_equal(found(cache, 0), content(0, pages=2, seed=1))


def test_a_damaged_entry_is_never_served_where_checks_are_on():
    cache = make(4)
    cache.put(0, 0, content(0))
    offset = int(cache._rows[0, 1])
    cache._memory.write(offset, memoryview(b"\xff\x00\xff"))
    assert found(cache, 0) is None
    assert cache.corrupt == 1


@pytest.mark.parametrize("state", ["writing", "leaving"])
def test_what_a_dead_process_left_is_used_again(state):
    cache = make(4, items=4)
    for item in range(4):
        cache.put(item, 0, content(item))
    number = 2
    cache._rows[number, 0] = (cache._rows[number, 0] & ~3) | {"writing": 1, "leaving": 3}[state]
    assert found(cache, number) is None
    assert cache.put(number, 0, content(number, seed=5))
    np.testing.assert_array_equal(found(cache, number), content(number, seed=5))
    assert cache.stats().memory_bytes == 4 * PAGE_BYTES


def test_nobody_waits_for_an_entry_that_another_process_is_writing():
    cache = make(4, items=4)
    ready, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with cache._memory.locked(0):
            offset = cache._reserve(1, PAGE_BYTES, 0)
            cache._describe(1, offset, content(1))
        os.write(ready[1], b"x")
        os.read(go_on[0], 1)
        cache._fill(1, offset, content(1), 0)
        os._exit(0)
    os.read(ready[0], 1)
    assert not cache.put(1, 0, content(1))
    assert found(cache, 1) is None
    os.write(go_on[1], b"x")
    os.waitpid(child, 0)
    np.testing.assert_array_equal(found(cache, 1), content(1))


def hammer(cache: SharedCache, slot: int, items: int) -> None:
    rng = random.Random(slot)
    while True:
        item = rng.randrange(items)
        seen = cache.read(item, slot, np.array)
        if seen is None:
            cache.put(item, slot, content(item, 1 + item % 5))
        elif not np.array_equal(seen, content(item, 1 + item % 5)):
            os._exit(3)


def kill_often(kills: int, seed: int) -> None:
    items, processes = 60, 3
    cache = make(40, items=items, slots=processes + 1)
    rng, children = random.Random(seed), {}

    def start(slot):
        pid = os.fork()
        if pid == 0:
            try:
                hammer(cache, slot, items)
            finally:
                os._exit(4)
        children[slot] = pid

    for slot in range(processes):
        start(slot)
    for _ in range(kills):
        os.sched_yield()
        for _ in range(rng.randrange(400)):
            cache.read(rng.randrange(items), processes, np.array)
        slot = rng.randrange(processes)
        os.kill(children[slot], signal.SIGKILL)
        _, status = os.waitpid(children[slot], 0)
        assert os.WIFSIGNALED(status), "a wrong entry was served"
        start(slot)
    for pid in children.values():
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "a wrong entry was served"
    assert cache.stats().memory_bytes <= cache.limit_bytes
    assert cache.corrupt == 0
    for item in range(items):
        seen = found(cache, item)
        assert seen is None or np.array_equal(seen, content(item, 1 + item % 5))
        if seen is None:
            assert cache.put(item, 0, content(item, 1 + item % 5))


def test_killed_processes_leave_a_cache_that_works():
    kill_often(kills=12, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_processes_leave_a_cache_that_works_many_times(seed):
    kill_often(kills=int(os.environ.get("VRTSPIKE_STRESS_KILLS", "500")) // 5, seed=seed)


def test_another_process_finds_the_memory_by_its_address():
    cache = make(4)
    cache.put(1, 0, content(1))
    memory = CacheMemory.attach(cache._memory.address)
    other = SharedCache(
        memory, num_items=40, limit_bytes=cache.limit_bytes, num_slots=1, checks=True
    )
    np.testing.assert_array_equal(found(other, 1), content(1))
    other.put(2, 0, content(2))
    np.testing.assert_array_equal(found(cache, 2), content(2))


def test_a_folder_of_ones_own_holds_no_file(tmp_path):
    cache = make(4, folder=tmp_path)
    cache.put(1, 0, content(1))
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(found(cache, 1), content(1))
    with pytest.raises(DataError, match=r"DATA\.CACHE_DIR"):
        make(4, folder=tmp_path / "missing")


def test_what_cannot_be_kept_is_refused_and_counted():
    cache = make(2)
    assert not cache.put(0, 0, content(0, pages=3))
    assert not cache.put(0, 0, np.zeros(3, np.complex64))
    assert not cache.put(0, 0, np.zeros((1,) * 5, np.uint8))
    assert not cache.put(0, 0, np.zeros(0, np.uint8))
    assert cache.stats().refused == 4
    assert whole_pages(1) == PAGE_BYTES


def test_a_cache_whose_disk_failed_is_an_error_to_who_asks_for_its_counts(tmp_path):
    """To look at the page of a file that is gone would end the process."""
    memory = CacheMemory.make(SharedCache.bytes_for(3, 9000, 2), tmp_path)
    cache = SharedCache(memory, num_items=3, limit_bytes=9000, num_slots=2)
    cache.put(1, 0, np.arange(9, dtype=np.uint8))
    assert (cache.stats().items, cache.stats().memory_bytes) == (1, 4096)
    os.truncate(memory.address.path, 100)
    with pytest.raises(OSError, match="cut short"):
        cache.stats()
