"""Ranks of a machine come to one cache, or say why each keeps its own."""

import errno
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch

from tests.vrtspike.data.test_clips import config, train_set
from vrtspike.data import machine_cache
from vrtspike.data.cache import CacheShare
from vrtspike.data.cache_memory import CacheMemory
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.machine_cache import CacheJob, MachineCache, join_caches
from vrtspike.data.plan import measure_data
from vrtspike.data.settings import DataLoaderConfig
from vrtspike.data.shared_cache import SharedCache

KEYS = [f"blur:{number}.png" for number in range(6)]


class Meeting:
    """Ranks that are threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values = [None] * size
        self._all_there = Barrier(size, timeout=30)

    def gather_of(self, rank: int) -> Callable:
        def gather(value):
            self._values[rank] = value
            self._all_there.wait()
            found = list(self._values)
            self._all_there.wait()
            return found

        return gather

    def join(self, keys=KEYS, **job):
        def one(rank):
            mine = keys(rank) if callable(keys) else keys
            given = {"machine_bytes": 1 << 20, "workers": 2, "local_ranks": self.size, **job}
            return join_caches(mine, CacheJob(rank=rank, gather=self.gather_of(rank), **given))

        with ThreadPoolExecutor(self.size) as pool:
            return list(pool.map(one, range(self.size)))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_what_one_rank_keeps_every_rank_finds(size):
    joined = Meeting(size).join()
    for caches, line in joined:
        assert isinstance(caches, MachineCache)
        assert f"shared by {2 * size} loading processes" in line
    value = np.arange(50, dtype=np.uint8)
    joined[0][0].open(1).put(KEYS[3], value)
    for caches, _ in joined:
        np.testing.assert_array_equal(caches.open(2).read(KEYS[3], np.array), value)
        assert caches.open(1).read("blur:unknown", np.array) is None
    stats = joined[-1][0].stats()
    assert (stats.items, stats.hits, stats.limit_bytes) == (1, size, 1 << 20)
    assert {caches.stats().first_rank for caches, _ in joined} == {0}


def test_ranks_on_two_machines_have_a_cache_each(monkeypatch):
    names = iter(["a", "b", "a", "b"])
    monkeypatch.setattr(machine_cache, "_machine", lambda: next(names))
    joined = Meeting(4).join()
    assert all(isinstance(caches, MachineCache) for caches, _ in joined)
    joined[0][0].open(1).put(KEYS[0], np.ones(3, np.uint8))
    held = sorted(caches.stats().items for caches, _ in joined)
    assert held == [0, 0, 1, 1]
    firsts = [caches.stats().first_rank for caches, _ in joined]
    assert firsts in ([0, 1, 0, 1], [0, 1, 1, 0], [0, 0, 2, 2])  # ranks are threads


def test_a_machine_without_such_memory_divides_the_budget(monkeypatch):
    def refuse(num_bytes, folder=None, *, kept_bytes=0):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(CacheMemory, "make", refuse)
    for rank, (caches, line) in enumerate(Meeting(2).join()):
        assert isinstance(caches, CacheShare)
        assert "no shared cache: Cannot allocate memory" in line
        assert caches.stats().first_rank == rank


@pytest.mark.parametrize("machine_bytes", [1 << 62, 1 << 63, 1 << 90])
def test_a_budget_beyond_every_address_is_divided(machine_bytes):
    for caches, line in Meeting(2).join(machine_bytes=machine_bytes):
        assert isinstance(caches, CacheShare)
        assert "no shared cache: File too large" in line


def test_the_table_has_room_on_the_disk_before_it_is_used(tmp_path, monkeypatch):
    """Storing into a page for which a full disk has no room would kill the process."""
    made = []
    make = CacheMemory.make

    def keep(*args, **kwargs):
        made.append(make(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(CacheMemory, "make", keep)
    many = [f"blur:{number}.png" for number in range(3000)]
    caches, _ = join_caches(
        many, CacheJob(machine_bytes=1 << 20, workers=1, local_ranks=1, folder=tmp_path)
    )
    assert isinstance(caches, MachineCache)
    on_disk = made[0].address.path.stat().st_blocks * 512
    assert on_disk >= SharedCache.table_bytes(len(many), 2)


def test_a_disk_without_room_for_the_table_divides_the_budget(tmp_path, monkeypatch):
    def refuse(descriptor, start, num_bytes):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    caches, line = join_caches(
        KEYS, CacheJob(machine_bytes=1 << 20, workers=1, local_ranks=1, folder=tmp_path)
    )
    assert isinstance(caches, CacheShare)
    assert "no shared cache: No space left on device" in line


@pytest.mark.parametrize(
    ("number", "full", "folder"),
    [
        (errno.ENOSPC, "is full: No space left on device", True),
        (errno.EIO, "takes no more: Input/output error", True),
        (errno.ENOMEM, "is full: Cannot allocate memory", False),
    ],
)
def test_a_folder_without_room_is_counted_and_told_of(tmp_path, monkeypatch, number, full, folder):
    where = tmp_path if folder else None
    job = CacheJob(machine_bytes=10 << 20, workers=1, local_ranks=1, folder=where)
    caches, _ = join_caches(KEYS, job)
    one = caches.open(1)
    assert one.put(KEYS[0], np.ones(1 << 19, np.uint8))
    assert caches.trouble() == ""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        assert not one.put(KEYS[1], np.ones(9, np.uint8))
        assert not one.put(KEYS[2], np.ones(9, np.uint8))
    stats = caches.stats()
    assert (stats.no_room, stats.refused, stats.items) == (2, 0, 1)
    assert "  - No room: 2 times" in stats.text("Set").splitlines()
    place = f"CACHE_DIR {tmp_path}" if folder else "the memory of the cache"
    assert caches.trouble() == (
        f"{place} {full}, with 0.5 of 10.0 MB in the cache, which keeps no others; give it room or "
        "lower CACHE_SIZE_GB"
    )


def test_a_rank_that_cannot_reach_the_memory_takes_the_others_back(monkeypatch):
    def refuse(address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(CacheMemory, "attach", refuse)
    for caches, line in Meeting(3).join():
        assert isinstance(caches, CacheShare)
        assert "no shared cache: Permission denied (/proc/" in line


def test_ranks_that_see_different_files_share_nothing():
    joined = Meeting(2).join(keys=lambda rank: [*KEYS, f"only {rank}"])
    assert all("the ranks see different files" in line for _, line in joined)


def test_every_loading_process_counts_in_a_row_of_its_own():
    joined = Meeting(3).join()
    slots = [caches.open(slot).slot for caches, _ in joined for slot in range(3)]
    assert sorted(slots) == list(range(9))


def test_keys_that_are_named_twice_are_one():
    job = CacheJob(machine_bytes=1 << 20, workers=1, local_ranks=1)
    caches, _ = join_caches(["a", "a", "b"], job)
    for key in ("a", "b"):
        assert caches.open(1).put(key, np.ones(3, np.uint8))
        assert caches.open(1).read(key, np.array) is not None


def test_one_machines_trouble_is_not_anothers(monkeypatch):
    names, make = iter(["a", "b"]), CacheMemory.make
    tried = []

    def refuse_first(*args, **kwargs):
        tried.append(args)
        if len(tried) == 1:
            raise OSError(12, "Cannot allocate memory")
        return make(*args, **kwargs)

    monkeypatch.setattr(machine_cache, "_machine", lambda: next(names))
    monkeypatch.setattr(CacheMemory, "make", refuse_first)
    kinds = {type(caches) for caches, _ in Meeting(2).join()}
    assert kinds == {MachineCache, CacheShare}


def test_a_cache_of_nothing_opens_no_memory():
    caches, line = join_caches(KEYS, CacheJob(machine_bytes=0, workers=0, local_ranks=1))
    assert isinstance(caches, CacheShare)
    assert "0 GiB" in line


@pytest.mark.parametrize("precomputed", [False, True])
def test_samples_from_the_cache_are_those_from_the_files(unified, precomputed):
    plain = train_set(unified, augment=True)
    if precomputed:
        whole = SpikeDeblurDataset(
            config(unified, clip_len=6, crop_size=64, augment=False), "train", training=True
        )
        for number, clip in enumerate(whole.clips):
            (clip.folder / "spike_vox").mkdir()
            for frame, voxels in zip(clip.frames, whole[number]["spike_vox"], strict=True):
                np.save(clip.folder / "spike_vox" / f"{frame.blur.stem}.npy", voxels.numpy())
    cached = train_set(unified, augment=True, use_precomputed_voxels=precomputed)
    job = CacheJob(machine_bytes=64 << 20, workers=0, local_ranks=1)
    cached.use_cache(join_caches(cached.cache_keys(), job)[0])
    for _ in range(2):
        for index in range(len(plain)):
            expected, sample = plain[index], cached[index]
            for name in ("blur", "sharp", "spike_vox"):
                assert torch.equal(expected[name], sample[name])
    stats = cached.cache_stats()
    frames = sum(len(clip.frames) for clip in cached.clips)
    assert stats.items == 3 * frames == len(cached.cache_keys())
    assert stats.misses == 3 * frames
    assert stats.evicted == stats.refused == 0
    assert stats.hits + stats.misses == 2 * len(plain) * 3 * cached.config.clip_len


def test_the_cache_outlives_its_workers_and_holds_no_descriptor_open_after_them(unified):
    before = set(Path("/dev/shm").iterdir())
    dataset = train_set(unified)
    job = CacheJob(machine_bytes=64 << 20, workers=1, local_ranks=1)
    dataset.use_cache(join_caches(dataset.cache_keys(), job)[0])
    for _ in range(2):
        list(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1))
    stats = dataset.cache_stats()
    assert stats.misses == stats.items
    assert stats.hits > stats.misses
    assert set(Path("/dev/shm").iterdir()) <= before


def gather_of_two(pipe, rank):
    """How one of two processes hears of the other's value."""

    def gather(value):
        pipe.send(value)
        values = [value, pipe.recv()]
        return values if rank == 0 else values[::-1]

    return gather


def one_rank(rank, gather, root):
    """Two epochs of a rank with two loading processes; the cache's counts when both have ended."""
    data = config(root, use_ram_cache=True, cache_size_gb=0.1)
    job = LoaderJob(rank=rank, world_size=2, local_ranks=2, gather=gather)
    built = build_loaders(data, DataLoaderConfig(total_workers=4), job)
    for epoch in (0, 1):
        built.start_epoch(epoch)
        assert len(list(built.train)) == 4
    built.train._iterator = None
    gather("ended")
    return built.train_set


def test_two_ranks_and_their_loading_processes_count_together(unified, capfd):
    before = set(Path("/dev/shm").iterdir())
    mine, theirs = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        try:
            stats = one_rank(1, gather_of_two(theirs, 1), unified).cache_stats()
            theirs.send(stats)
        finally:
            os._exit(0)
    dataset = one_rank(0, gather_of_two(mine, 0), unified)
    stats = dataset.cache_stats()
    assert mine.recv() == stats
    os.waitpid(child, 0)
    asked = 2 * 2 * 4 * 3 * dataset.config.clip_len  # epochs, ranks, samples, arrays of a frame
    assert stats.hits + stats.misses == asked
    assert stats.items == 3 * 12
    assert stats.misses >= stats.items
    assert stats.memory_bytes == 12 * measure_data(dataset.config).cached_frame_bytes
    dataset.print_cache_stats()
    shown = capfd.readouterr().out
    assert "[SpikeDeblurDataset] Cache Stats:\n  - Size: 36 items\n" in shown
    rate = stats.hits / asked
    assert f"  - Hit Rate: {rate:.2%} ({stats.hits} hits / {stats.misses} misses)\n" in shown
    assert set(Path("/dev/shm").iterdir()) <= before
