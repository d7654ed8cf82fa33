"""Sizes before loading, against what the loader really hands over."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from vrtspike.data import sources
from vrtspike.data.cache_memory import PAGE_BYTES, whole_pages
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.fast_store import convert
from vrtspike.data.frames import read_rgb
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.plan import (
    crop_shape,
    documented_frame_bytes,
    fast_store_bytes,
    largest_crop,
    loading_scratch_bytes,
    measure_data,
)
from vrtspike.data.settings import CropStage, DataConfig, DataLoaderConfig
from vrtspike.data.store_file import read_index
from vrtspike.errors import DataError

TENSORS = ("blur", "sharp", "spike_vox")


@pytest.fixture
def config(unified):
    return DataConfig(root=str(unified), clip_len=3, crop_size=32, val_crop_size=None, k=5)


def test_the_documented_frame_is_133_59_mib():
    assert round(documented_frame_bytes(720, 1280, 32) / 2**20, 2) == 133.59


def test_documented_frame_is_two_pictures_and_voxels_in_float32():
    picture, voxels = 720 * 1280 * 3 * 4, 32 * 720 * 1280 * 4
    assert documented_frame_bytes(720, 1280, 32) == 2 * picture + voxels


def test_counts_and_sizes_are_those_of_the_data_set(config):
    size = measure_data(config)
    train = SpikeDeblurDataset(config, "train", training=True)
    val = SpikeDeblurDataset(config, "val", training=False, stride=config.clip_len)
    assert not size.is_assumed
    assert (size.train_frames, size.val_frames) == (12, 6)
    assert (size.train_samples, size.val_samples) == (len(train), len(val))
    assert (size.height, size.width, size.spike_height, size.spike_width) == (64, 64, 32, 32)


@pytest.mark.parametrize("batch", [1, 2])
def test_batches_are_as_large_as_the_loaders(config, batch):
    job = LoaderJob(batch_size=batch, val_batch_size=batch)
    loaders = build_loaders(config, DataLoaderConfig(total_workers=0), job)
    size = measure_data(config)
    for loader, crop in ((loaders.train, config.crop_size), (loaders.val, config.val_crop_size)):
        loaded = next(iter(loader))
        found = sum(loaded[name].nbytes for name in TENSORS)
        found += loaded["meta"]["frame_idx"].nbytes
        assert found == batch * crop_shape(config, size, crop).sample_bytes
        assert crop_shape(config, size, crop).tensor_bytes == tuple(
            loaded[name].nbytes // batch for name in TENSORS
        )


def test_the_cache_holds_what_a_frame_is_said_to_take(config):
    cached = replace(config, use_ram_cache=True, clip_len=2)
    loaders = build_loaders(cached, DataLoaderConfig(total_workers=0), LoaderJob())
    loaders.train_set[0]
    stats = loaders.train_set.cache_stats()
    assert stats.memory_bytes == 2 * measure_data(cached).cached_frame_bytes


def test_a_missing_root_takes_the_published_counts_and_says_so(tmp_path):
    config = DataConfig(root=str(tmp_path / "nothing"), clip_len=5, k=32)
    size = measure_data(config)
    assert size.is_assumed
    assert (size.train_frames, size.val_frames) == (2103, 1111)
    assert size.train_samples == 2015
    pictures, spikes = 2 * 720 * 1280 * 3, 88 * 360 * 640 // 8
    assert 0 <= size.cached_frame_bytes - pictures - spikes < 3 * PAGE_BYTES


def test_a_root_that_is_no_data_set_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no split 'train'"):
        measure_data(DataConfig(root=str(tmp_path)))


def test_the_largest_crop_of_a_schedule_counts():
    stages = (CropStage(until_epoch=1, crop_size=128), CropStage(until_epoch=2, crop_size=512))
    assert largest_crop(DataConfig(root="x", crop_size=256, crop_schedule=stages)) == 512
    assert largest_crop(DataConfig(root="x", crop_size=64)) == 64


def test_pinned_memory_is_rounded_up_tensor_by_tensor(config):
    shape = crop_shape(config, measure_data(config), 32)
    for batch in (1, 3):
        pinned = shape.pinned_batch_bytes(batch)
        exact = batch * sum(shape.tensor_bytes)
        assert exact <= pinned < 2 * exact
    assert shape.pinned_batch_bytes(1) == sum(
        2 ** (size - 1).bit_length() for size in shape.tensor_bytes
    )


def test_making_a_batch_holds_samples_and_one_decoded_picture(config):
    size = measure_data(config)
    shape = crop_shape(config, size, 32)
    one, two = (loading_scratch_bytes(shape, size, batch) for batch in (1, 2))
    assert two - one == shape.sample_bytes
    assert one - shape.sample_bytes == 2 * 64 * 64 * 3
    assert loading_scratch_bytes(shape, size, 2, decodes=False) == 2 * shape.sample_bytes


def test_no_more_than_one_decoded_picture_is_held(config, monkeypatch):
    """What the forecast of a loading process counts on."""
    made = []

    def decoded(data, path):
        assert all(picture() is None for picture in made)
        picture = read_rgb(path).view(Kept)
        made.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(sources, "decode_rgb", decoded)
    SpikeDeblurDataset(config, "train", training=True)[0]
    assert len(made) == 2 * config.clip_len


class Kept(np.ndarray):
    """An array that can be watched."""


def test_a_fast_store_takes_what_is_forecast(config, tmp_path):
    convert(config, tmp_path / "store", ("train", "val"), lambda line: None)
    files = list((tmp_path / "store").rglob("*.frames"))
    arrays = [array for file in files for array in read_index(file)]
    on_disk = sum(path.stat().st_size for path in files)
    forecast = fast_store_bytes(measure_data(config))
    assert sum(whole_pages(array.num_bytes) for array in arrays) == forecast
    assert forecast < on_disk < forecast + len(files) * 4 * PAGE_BYTES
