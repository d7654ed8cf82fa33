"""What a budget for the cache comes to: nothing, more than the memory, more than the disk has."""

import errno
import math
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.vrtspike.data.test_loader import loaders
from vrtspike.data import cache_room as room_module
from vrtspike.data.cache_memory import CacheMemory, kept_free_bytes
from vrtspike.data.cache_room import cache_room
from vrtspike.data.settings import DataConfig
from vrtspike.data.shared_cache import SharedCache
from vrtspike.errors import DataError

GIB = 1 << 30


def test_what_a_cache_leaves_free():
    assert kept_free_bytes(0) == 0
    assert kept_free_bytes(1000) == 100
    assert kept_free_bytes(1 << 50) == GIB


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, 1e300])
def test_no_budget_is_one_line(value):
    with pytest.raises(ValueError, match=r"^cache_size_gb: must (not be negative|be at most)"):
        DataConfig(root="x", cache_size_gb=value)


def test_a_budget_of_nothing_keeps_nothing_and_says_so(unified):
    built = loaders(unified, use_ram_cache=True, cache_size_gb=0)
    assert any(note == "CACHE_SIZE_GB 0: nothing is kept between samples" for note in built.notes)
    built.start_epoch(0)
    assert len(list(built.train)) == 4
    assert built.train_set.cache_stats().items == 0


def test_more_than_the_memory_is_a_warning(monkeypatch):
    memory = SimpleNamespace(total=8 * GIB)
    monkeypatch.setattr(room_module.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(room_module, "cgroup_memory", lambda total: None)
    assert cache_room(8, None).notes == ()
    (note,) = cache_room(9, None).notes
    assert note.startswith("WARNING: CACHE_SIZE_GB 9 is more than the 8.0 GiB of memory here: with")
    limit = SimpleNamespace(limit_bytes=2 * GIB)
    monkeypatch.setattr(room_module, "cgroup_memory", lambda total: limit)
    assert "the 2.0 GiB" in cache_room(3, None).notes[0]
    assert cache_room(3, None).machine_bytes == 3 * GIB


def test_a_disk_gives_what_it_has_and_every_rank_takes_the_same(monkeypatch, tmp_path):
    usage = SimpleNamespace(total=100 * GIB, free=5 * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert cache_room(4, tmp_path).notes == ()
    found = cache_room(10, tmp_path)
    assert found.machine_bytes == 4 * GIB
    (note,) = found.notes
    assert f"WARNING: CACHE_DIR {tmp_path} has room for 4.00 GiB" in note
    assert cache_room(10, tmp_path, lambda own: [own, 3 * GIB]).machine_bytes == 3 * GIB
    usage.free = 0
    assert cache_room(10, tmp_path).machine_bytes == 0


def test_a_folder_that_is_none_is_one_line(unified):
    for folder in (unified / "nowhere", unified / "config.yaml"):
        with pytest.raises(DataError, match=rf"^DATA\.CACHE_DIR {folder}: "):
            loaders(unified, use_ram_cache=True, cache_dir=str(folder))


def shared(tmp_path, limit_bytes=4 * 8192):
    size = SharedCache.bytes_for(8, limit_bytes, 1)
    kept = SharedCache.table_bytes(8, 1)
    memory = CacheMemory.make(size, tmp_path, kept_bytes=kept)
    return SharedCache(memory, num_items=8, limit_bytes=limit_bytes, num_slots=1, checks=True)


def test_the_last_of_a_disk_is_left_to_others(tmp_path, monkeypatch):
    """Also where they fill it while the cache is in use."""
    cache, real = shared(tmp_path), os.fstatvfs

    def nearly_full(descriptor):
        found = real(descriptor)
        free = kept_free_bytes(found.f_blocks * found.f_frsize) // found.f_frsize
        return SimpleNamespace(f_frsize=found.f_frsize, f_blocks=found.f_blocks, f_bavail=free)

    values = [np.full(8192, number, np.uint8) for number in range(5)]
    for number in range(3):
        assert cache.put(number, 0, values[number])
    monkeypatch.setattr(os, "fstatvfs", nearly_full)
    assert not cache.put(3, 0, values[3])
    monkeypatch.setattr(os, "fstatvfs", real)
    assert cache.put(3, 0, values[3])
    for number in range(4):
        assert np.array_equal(cache.read(number, 0, np.copy), values[number])
    assert (cache.stats().items, cache.stats().evicted, cache.corrupt) == (4, 0, 0)


def test_two_trainings_in_one_folder_are_two_caches(unified, tmp_path):
    given = {"use_ram_cache": True, "cache_size_gb": 0.05, "cache_dir": str(tmp_path)}
    folder = sorted(tmp_path.iterdir())
    one, other = loaders(unified, **given), loaders(unified, 1, **given)
    plain = loaders(unified)
    for each in (one, other, plain):
        each.start_epoch(0)
    for a, b, c in zip(one.train, other.train, plain.train, strict=True):
        assert torch.equal(a["blur"], c["blur"])
        assert torch.equal(b["blur"], c["blur"])
    assert one.train_set.cache_stats().items == other.train_set.cache_stats().items == 36
    assert sorted(tmp_path.iterdir()) == folder, "nothing has a name"


def test_writing_fails_where_the_disk_does(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "full")

    cache = shared(tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    for number in range(5):
        assert not cache.put(number, 0, np.zeros(8192, np.uint8))
    assert cache.stats().items == 0
