"""Forecast hit rates against a cache that really ran."""

from dataclasses import replace

import pytest

from tests.vrtspike.data.test_sample_order import plan
from vrtspike.data import hit_rates as module
from vrtspike.data.cache_memory import PAGE_BYTES, CacheMemory
from vrtspike.data.hit_rates import hit_rates
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.plan import measure_data, order_plan
from vrtspike.data.settings import DataConfig, DataLoaderConfig
from vrtspike.data.shared_cache import SharedCache

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
    shares = []
    for epoch in (0, 1):
        before = cache.stats()
        for sample in way.epoch(0, epoch).tolist():
            first = way.first_frames[sample]
            for frame in range(first, first + way.clip_len):
                number = frames.setdefault((way.clips[sample], frame), len(frames))
                if cache.read(number, 0, np.array) is None:
                    cache.put(number, 0, np.zeros(FRAME, np.uint8))
        now = cache.stats()
        hits, misses = now.hits - before.hits, now.misses - before.misses
        shares.append(hits / (hits + misses))
    (forecast,) = hit_rates(way, frame_bytes=FRAME, seed=0, cache_bytes=[limit])
    assert forecast.first_epoch_share == pytest.approx(shares[0], abs=1e-12)
    assert forecast.later_share == pytest.approx(shares[1], abs=1e-12)


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
    )
    both = (forecast.first_epoch_share + forecast.later_share) / 2
    # Pictures and spikes of a frame leave one by one, not together.
    assert both == pytest.approx(stats.hit_rate, abs=0.08)


def test_what_is_too_large_to_go_through_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "MAX_SAMPLES", 100)
    assert hit_rates(plan(lengths=(99, 2)), frame_bytes=1, seed=0, cache_bytes=[5]) == ()
    assert hit_rates(plan(lengths=(99,)), frame_bytes=1, seed=0, cache_bytes=[5]) != ()
    assert hit_rates(plan(lengths=(9,)), frame_bytes=0, seed=0, cache_bytes=[5]) == ()
