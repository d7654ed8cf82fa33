"""Forecast hit rates against a cache that really ran."""

from dataclasses import replace

import pytest

from tests.vrtspike.data.conftest import TICKS, write_clip
from tests.vrtspike.data.test_sample_order import plan
from vrtspike.data import hit_rates as module
from vrtspike.data.cache_memory import PAGE_BYTES, CacheMemory
from vrtspike.data.hit_rates import Loading, hit_rates
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.plan import measure_data, order_plan
from vrtspike.data.settings import DataConfig, DataLoaderConfig
from vrtspike.data.shared_cache import SharedCache
from vrtspike.data.spike_config import write_spike_config

FRAME = 2 * PAGE_BYTES


@pytest.mark.parametrize("order", ["shuffled", "grouped"])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_the_forecast_is_what_a_real_cache_counts(order, share):
    import numpy as np

    way = plan(lengths=(60, 40, 50), order=order, group=12)
    frames = {}
    limit = round(share * 162) * FRAME  # 150 windows of 5 frames: 162 frames
    memory = CacheMemory.make(SharedCache.bytes_for(200, limit, 1))
    cache = SharedCache(memory, num_items=200, limit_bytes=limit, num_slots=1)
    counted = []
    for epoch in range(6):
        before = cache.stats()
        for sample in way.epoch(0, epoch).tolist():
            first = way.first_frames[sample]
            for frame in range(first, first + way.clip_len):
                number = frames.setdefault((way.clips[sample], frame), len(frames))
                if cache.read(number, 0, np.array) is None:
                    cache.put(number, 0, np.zeros(FRAME, np.uint8))
        now = cache.stats()
        counted.append((now.hits - before.hits, now.misses - before.misses))
    (forecast,) = hit_rates(way, frame_bytes=FRAME, seed=0, cache_bytes=[limit], epochs=6)
    hits, misses = (sum(each) for each in zip(*counted[1:], strict=True))
    assert forecast.first_epoch_share == pytest.approx(counted[0][0] / sum(counted[0]), abs=1e-12)
    assert forecast.later_share == pytest.approx(hits / (hits + misses), abs=1e-12)


@pytest.mark.parametrize("order", ["shuffled", "grouped"])
def test_the_forecast_of_a_data_set_is_what_its_loader_counts(unified, order):
    config = DataConfig(
        root=str(unified), clip_len=3, crop_size=32, k=4, sample_order=order, group_samples=3
    )
    size = measure_data(config)
    config = replace(config, use_ram_cache=True, cache_size_gb=7 * size.cached_frame_bytes / 2**30)
    loaders = build_loaders(config, DataLoaderConfig(total_workers=0), LoaderJob(seed=3))
    for epoch in (0, 1):
        loaders.start_epoch(epoch)
        list(loaders.train)
    stats = loaders.train_set.cache_stats()
    (forecast,) = hit_rates(
        order_plan(config, size),
        frame_bytes=size.cached_frame_bytes,
        seed=3,
        cache_bytes=[7 * size.cached_frame_bytes],
        epochs=2,
    )
    both = (forecast.first_epoch_share + forecast.later_share) / 2
    # Pictures and spikes of a frame leave one by one, not together.
    assert both == pytest.approx(stats.hit_rate, abs=0.08)


@pytest.fixture(scope="module")
def long_clips(tmp_path_factory):
    """Clips long enough for a cache of many samples."""
    root = tmp_path_factory.mktemp("long") / "tree"
    for seed, (name, frames) in enumerate({"a": 180, "b": 120, "c": 150}.items()):
        write_clip(root / "train" / name, frames, seed=seed)
    write_clip(root / "val" / "d", 5, seed=9)
    write_spike_config(root, {"spike_h": 32, "spike_w": 32, "ticks_per_frame": TICKS})
    return root


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 8])  # the second are more than the cores of most machines
@pytest.mark.parametrize("order", ["shuffled", "grouped"])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_with_several_processes_it_is_within_a_percentage_point(long_clips, order, share, workers):
    config = DataConfig(
        root=str(long_clips), clip_len=5, crop_size=32, k=4, sample_order=order, use_ram_cache=True
    )
    size = measure_data(config)
    limit = round(share * size.train_frames) * size.cached_frame_bytes
    config = replace(config, cache_size_gb=limit / 2**30)
    loaders = build_loaders(config, DataLoaderConfig(total_workers=workers), LoaderJob(seed=3))
    shares, hits, lookups = [], 0, 0
    for epoch in (0, 1):
        loaders.start_epoch(epoch)
        assert len(list(loaders.train)) == size.train_samples
        stats = loaders.train_set.cache_stats()
        asked = stats.hits + stats.misses
        shares.append((stats.hits - hits) / (asked - lookups))
        hits, lookups = stats.hits, asked
    (forecast,) = hit_rates(
        order_plan(config, size),
        frame_bytes=size.cached_frame_bytes,
        seed=3,
        cache_bytes=[limit],
        loading=Loading(workers=workers, cores=2),
        epochs=2,
    )
    if workers == 2:
        assert forecast.first_epoch_share == pytest.approx(shares[0], abs=0.01)
        assert forecast.later_share == pytest.approx(shares[1], abs=0.01)
    else:  # the order that eight processes on two cores come to is another one in each run
        ranges = (forecast.first_epoch_range, forecast.later_range)
        for share, (least, most) in zip(shares, ranges, strict=True):
            assert least - 0.015 <= share <= most + 0.015


def test_processes_that_work_at_the_same_time_hit_a_little_less():
    way = plan(lengths=(60, 40, 50), order="grouped", group=12)
    rates = [
        hit_rates(way, frame_bytes=1, seed=0, cache_bytes=[50], loading=Loading(workers=workers))
        for workers in (1, 2, 8)
    ]
    shares = [rate.first_epoch_share for (rate,) in rates]
    assert shares[0] > shares[1] > shares[2] > shares[0] - 0.05
    one_batch = Loading(workers=1, batch_size=4)
    assert hit_rates(way, frame_bytes=1, seed=0, cache_bytes=[50], loading=one_batch) == rates[0]


@pytest.mark.parametrize("order", ["shuffled", "grouped"])
def test_with_fewer_cores_than_processes_a_range_holds_the_forecast(order):
    way = plan(lengths=(60, 40, 50), order=order, group=12)

    def rates(**who):
        loading = Loading(workers=8, batch_size=2, **who)
        return hit_rates(way, frame_bytes=1, seed=0, cache_bytes=[20, 50, 200], loading=loading)

    assert rates() == rates(cores=8)
    assert all(rate.first_epoch_range is rate.later_range is None for rate in rates())
    for rate, crowded in zip(rates(), rates(cores=2), strict=True):
        assert crowded.first_epoch_share == rate.first_epoch_share
        assert crowded.later_share == rate.later_share
        for share, (least, most) in (
            (crowded.first_epoch_share, crowded.first_epoch_range),
            (crowded.later_share, crowded.later_range),
        ):
            assert 0.0 <= least <= share <= most <= 1.0
    if order == "grouped":  # neighbours are asked for while they are loaded
        wide = rates(cores=2)[1].first_epoch_range
        assert wide[1] - wide[0] > 0.01


def test_a_machine_asks_for_what_its_own_ranks_load():
    way = plan(lengths=(60, 40, 50), order="grouped", group=12)

    def rates(**changes):
        who = Loading(workers=1, **changes)
        return hit_rates(way, frame_bytes=1, seed=0, cache_bytes=[30, 200], loading=who)

    alone, four = rates(), rates(machines=4)
    assert four[0].first_epoch_share < alone[0].first_epoch_share
    assert rates(machines=200) == ()
    assert rates(ranks=2)[1].later_share == pytest.approx(1.0, abs=0.02)


def test_small_data_sets_are_gone_through_for_more_than_two_epochs():
    way = plan(lengths=(9, 8), order="grouped", group=4)

    def later(**changes):
        (rate,) = hit_rates(way, frame_bytes=1, seed=0, cache_bytes=[9], **changes)
        return rate.later_share

    assert later() == later(epochs=10)
    assert len({later(epochs=2), later(epochs=5), later(epochs=10)}) == 3


def test_what_is_too_large_to_go_through_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "MAX_SAMPLES", 100)
    assert hit_rates(plan(lengths=(99, 2)), frame_bytes=1, seed=0, cache_bytes=[5]) == ()
    assert hit_rates(plan(lengths=(99,)), frame_bytes=1, seed=0, cache_bytes=[5]) != ()
    assert hit_rates(plan(lengths=(9,)), frame_bytes=0, seed=0, cache_bytes=[5]) == ()
