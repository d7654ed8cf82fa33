"""The cache against a slow model of itself, and one budget for the machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrtspike.data.cache import CacheShare, LRUCache


def item(size, fill=0):
    return np.full(size, fill, np.uint8)


def test_least_recently_used_leaves_first():
    cache = LRUCache(30)
    for key in "abc":
        cache.put(key, item(10))
    cache.get("a")
    cache.put("d", item(10))
    assert [cache.get(key) is not None for key in "abcd"] == [True, False, True, True]


def test_an_item_larger_than_the_limit_is_refused_and_counted():
    cache = LRUCache(10)
    cache.put("a", item(8))
    assert not cache.put("big", item(11))
    assert cache.get("big") is None
    assert cache.get("a") is not None
    assert cache.stats().refused == 1


def test_replacing_an_item_counts_its_bytes_once():
    cache = LRUCache(10)
    cache.put("a", item(8))
    cache.put("a", item(6, 5))
    assert cache.stats().memory_bytes == 6
    assert cache.get("a")[0] == 5
    cache.put("a", item(11))
    assert len(cache) == cache.stats().items == cache.stats().memory_bytes == 0


def test_what_is_handed_out_cannot_change_what_is_kept():
    cache = LRUCache(100)
    cache.put("a", item(4, 1))
    cache.get("a")[:] = 9
    with pytest.raises(ValueError, match="read-only"):
        cache.view("a")[:] = 9
    assert cache.get("a").tolist() == [1, 1, 1, 1]


def test_a_slice_does_not_keep_its_whole_array_alive():
    cache = LRUCache(100)
    cache.put("a", item(1000)[:10])
    assert cache.view("a").base is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 14)), max_size=80))
@settings(max_examples=80, deadline=None)
def test_laws(calls):
    cache, model, hits, misses = LRUCache(30), {}, 0, 0
    for is_put, key, size in calls:
        if is_put:
            cache.put(str(key), item(size, key))
            model.pop(key, None)
            while sum(model.values()) + size > 30:
                model.pop(next(iter(model)))
            model[key] = size
        else:
            found = cache.get(str(key))
            assert (found is not None) == (key in model)
            hits, misses = hits + (key in model), misses + (key not in model)
            if key in model:
                model[key] = model.pop(key)
    stats = cache.stats()
    assert stats.memory_bytes == sum(model.values()) <= 30
    assert (stats.items, stats.hits, stats.misses) == (len(model), hits, misses)


def test_documented_text(capsys):
    cache = LRUCache(51200 * 2**20)
    cache.put("a", item(2**20))
    for _ in range(8245):
        cache.view("a")
    for _ in range(1755):
        cache.view("b")
    cache.print_cache_stats("SpikeDeblurDataset")
    assert capsys.readouterr().out.splitlines() == [
        "[SpikeDeblurDataset] Cache Stats:",
        "  - Size: 1 items",
        "  - Memory: 1.0 / 51200.0 MB",
        "  - Hit Rate: 82.45% (8245 hits / 1755 misses)",
    ]


def test_no_lookups_is_said_and_not_zero():
    assert LRUCache(1).stats().hit_rate is None
    assert "n/a" in LRUCache(1).stats().text("x")


@pytest.mark.parametrize(("workers", "ranks"), [(0, 1), (4, 1), (3, 4)])
def test_all_processes_together_stay_within_the_machines_budget(workers, ranks):
    share = CacheShare(10**9, workers=workers, local_ranks=ranks)
    slots = [slot for slot in range(workers + 1) if share.may_open(slot)]
    held = sum(share.open(slot).max_memory_bytes for slot in slots) * ranks
    assert held <= 10**9
    assert held > 10**9 - 100
    assert str(max(1, workers) * ranks) in share.line()


def test_statistics_of_all_slots_add_up_and_survive_a_new_worker():
    share = CacheShare(1000, workers=2, local_ranks=1)
    for slot in (1, 2):
        cache = share.open(slot)
        cache.put("a", item(10))
        cache.get("a")
        cache.get("b")
    assert (share.stats().items, share.stats().hits, share.stats().misses) == (2, 2, 2)
    share.open(1)  # the next epoch's worker begins empty
    assert (share.stats().items, share.stats().memory_bytes, share.stats().hits) == (1, 10, 2)
