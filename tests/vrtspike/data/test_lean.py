"""Samples that stay bytes until the training device finishes them: the same to the last bit."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tests.vrtspike.data.test_clips import config, train_set
from vrtspike.data import lean
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.cropping import Turn
from vrtspike.data.fast_store import convert
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.machine_cache import CacheJob, join_caches
from vrtspike.data.plan import crop_shape, measure_data
from vrtspike.data.settings import DataLoaderConfig
from vrtspike.data.spike_stream import Window, encode, voxelise
from vrtspike.errors import DataError

CPU = torch.device("cpu")


@settings(max_examples=80, deadline=None)
@given(
    ticks=st.lists(st.integers(4, 40), min_size=1, max_size=3),
    size=st.tuples(st.integers(1, 5), st.integers(1, 30)),
    bins=st.integers(1, 4),
    mode=st.sampled_from(["flat", "documented"]),
    turn=st.tuples(st.booleans(), st.booleans(), st.integers(0, 1)),
    data=st.data(),
)
def test_spikes_finished_on_a_device_are_those_of_a_loading_process(
    ticks, size, bins, mode, turn, data
):
    height, width = size[0] * 2, size[1]
    top = data.draw(st.integers(0, height - 1))
    left = data.draw(st.integers(0, width - 1))
    window = Window(
        top,
        left,
        data.draw(st.integers(1, height - top)),
        data.draw(st.integers(1, width - left)),
    )
    rng = np.random.default_rng(sum(ticks))
    streams = [encode(rng.integers(0, 2, (n, height, width))) for n in ticks]
    thetas = [1.0 + n / 7 for n in range(len(ticks))]
    turned = Turn(*turn)
    expected = turned.apply(
        np.stack(
            [
                voxelise(stream, bins, mode=mode, theta=theta, window=window)
                for stream, theta in zip(streams, thetas, strict=True)
            ]
        )
    )
    packed = [lean.packed_crop(stream, window) for stream in streams]
    guide = lean.spike_guide(
        list(zip(ticks, thetas, strict=True)), window.width, turned, bins, mode
    )
    most = max(ticks)
    spikes = torch.from_numpy(
        np.stack([np.pad(each, ((0, most - len(each)), (0, 0), (0, 0))) for each in packed])
    )
    picture = torch.zeros(len(ticks), 3, 1, 1, dtype=torch.uint8)
    sample = {"blur": picture, "sharp": picture, lean.SPIKES: spikes, lean.GUIDE: guide}
    _, voxels, _ = lean.on_device(lean.collate([sample]), CPU)
    np.testing.assert_array_equal(voxels[0].numpy(), expected)


def lean_set(dataset: SpikeDeblurDataset) -> SpikeDeblurDataset:
    dataset.hand_over_bytes()
    return dataset


@pytest.mark.parametrize("mode", ["flat", "documented"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_is_the_same_to_the_last_bit(unified, mode, batch):
    plain = train_set(unified, augment=True, voxel_mode=mode)
    bytes_only = lean_set(train_set(unified, augment=True, voxel_mode=mode))
    for first in range(0, len(plain) - batch + 1, batch):
        expected = lean.collate([plain[first + n] for n in range(batch)])
        made = lean.collate([bytes_only[first + n] for n in range(batch)])
        assert all(each.dtype == torch.uint8 for each in lean.copied_tensors(made))
        whole = lean.on_device(expected, CPU)
        for one, other in zip(whole, lean.on_device(made, CPU), strict=True):
            assert one.dtype == other.dtype == torch.float32
            assert torch.equal(one, other)


def sources(dataset: SpikeDeblurDataset, source: str, root) -> SpikeDeblurDataset:
    """The data set, reading from the files, the cache of the machine, or a fast store."""
    if source == "cache":
        job = CacheJob(machine_bytes=64 << 20, workers=0, local_ranks=1, checks=True)
        dataset.use_cache(join_caches(dataset.cache_keys(), job)[0])
    if source == "store":
        convert(dataset.config, root.parent / "store", ("train", "val"), lambda line: None)
        dataset.use_store(root.parent / "store")
    return dataset


def shorten_last_spikes(clip: Path) -> None:
    """The last file of a recording holds fewer ticks."""
    path = max((clip / "spike").iterdir())
    path.write_bytes(path.read_bytes()[: 9 * 32 * 32 // 8])


@pytest.mark.parametrize("source", ["files", "cache", "store"])
@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("voxels", ["flat", "documented", "f2", "f4", "u1", "u2"])
def test_every_way_to_a_sample_gives_the_same_bits(unified, source, augment, voxels):
    given = {"augment": augment}
    if voxels in ("flat", "documented"):
        given["voxel_mode"] = voxels
        shorten_last_spikes(unified / "train/a")
    else:
        given["use_precomputed_voxels"] = True
        for number, clip in enumerate(("train/a", "train/deep/b", "val/c")):
            (unified / clip / "spike_vox").mkdir()
            rng = np.random.default_rng(number)
            for frame in range(6):
                made = (255 * rng.random((4, 32, 32))).astype(voxels)
                np.save(unified / clip / "spike_vox" / f"{frame:06d}.npy", made)
    makers = [partial(train_set, unified, **given)]
    makers.append(lambda: SpikeDeblurDataset(config(unified, **given), "val", training=False))
    for make in makers:
        plain, other = make(), sources(lean_set(make()), source, unified)
        for _ in range(2):  # the second time the cache has it
            for first in range(0, len(plain) - 1, 2):
                expected = lean.collate([plain[first], plain[first + 1]])
                found = lean.collate([other[first], other[first + 1]])
                whole = lean.on_device(found, CPU)
                for one, another in zip(lean.on_device(expected, CPU), whole, strict=True):
                    assert one.dtype == another.dtype == torch.float32
                    assert another.is_contiguous()
                    assert torch.equal(one, another)


def counts_of(packed, edges):
    gains = np.zeros((1, len(edges) - 1, 2), np.float32)
    (bins,) = lean._guide_on(CPU, lean.VoxelGuide(8, True, edges[None], gains))
    return lean._counts(packed, bins)


class CrossingsToDevice(TorchDispatchMode):
    """Counts what is copied from the host to the device `meta`, which computes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].device.type == "cpu" and made.device.type == "meta"
        return made


@pytest.mark.parametrize("mode", ["flat", "documented"])
def test_what_a_guide_says_is_copied_to_a_device_once(unified, mode):
    """A copy from ordinary memory waits for all that the device has to do."""
    dataset = lean_set(train_set(unified, voxel_mode=mode))
    lean._bins_on.cache_clear()
    lean._pixels_of_bytes.cache_clear()
    counted = []
    for first in (0, 2):  # what comes from a loading process is a new object each time
        batch = lean.collate([dataset[first], dataset[first + 1]])
        batch[lean.GUIDE] = pickle.loads(pickle.dumps(batch[lean.GUIDE]))
        with CrossingsToDevice() as crossings:
            lean.on_device(batch, torch.device("meta"))
        counted.append(crossings.count)
    batch_alone = len(list(lean.copied_tensors(batch)))
    assert counted == [batch_alone + 3, batch_alone]  # bins, gains, the table of bytes


@pytest.mark.parametrize(("kind", "pinned"), [("cuda", True), ("cpu", False)])
def test_what_goes_to_a_gpu_is_pinned_first_and_not_waited_for(monkeypatch, kind, pinned):
    done = []

    class Held:
        def pin_memory(self):
            done.append("pinned")
            return self

        def to(self, device, *, non_blocking):
            done.append((device, non_blocking))
            return self

    monkeypatch.setattr(torch, "from_numpy", lambda values: Held())
    device = torch.device(kind)
    lean._copied(np.zeros(3), device)
    assert done == ["pinned"] * pinned + [(device, True)]


def test_guides_that_differ_are_kept_apart_and_not_without_bound():
    lean._bins_on.cache_clear()
    edges, gains = np.array([[0, 2, 5]]), np.ones((1, 2, 3), np.float32)
    first = lean._guide_on(CPU, lean.VoxelGuide(8, True, edges, gains))
    for number in range(300):
        other = lean._guide_on(
            CPU, lean.VoxelGuide(8, True, edges + np.array([[0, number, number]]), gains)
        )
        assert len(other[0].owner) == 5 + number
        assert torch.equal(other[0].gains, first[0].gains)
    wider = lean._guide_on(CPU, lean.VoxelGuide(8, True, edges, 2 * gains))
    assert wider[0].gains.max() == 2
    assert lean._bins_on.cache_info().currsize <= 256


def test_bins_of_more_ticks_than_a_byte_counts():
    stream = encode(np.ones((700, 2, 16), np.uint8))
    packed = torch.from_numpy(lean.packed_crop(stream, Window(0, 0, 2, 16)))
    edges = np.array([0, 300, 300, 700])
    counts = counts_of(packed, edges)
    assert counts[:, 0, 0].tolist() == [300, 0, 400]


def test_ticks_beyond_the_guides_are_not_counted():
    packed = torch.full((9, 1, 1), 255, dtype=torch.uint8)
    assert counts_of(packed, np.array([0, 2, 5]))[:, 0, 0].tolist() == [2, 3]


def test_stored_voxels_are_handed_over_as_small_as_they_are(unified):
    for name in ("train/a", "train/deep/b"):
        (unified / name / "spike_vox").mkdir()
        for frame in range(6):
            voxels = np.zeros((4, 32, 32), np.float16)
            np.save(unified / name / "spike_vox" / f"{frame:06d}.npy", voxels)
    data = config(unified, use_precomputed_voxels=True)
    dataset = lean_set(SpikeDeblurDataset(data, "train", training=True))
    batch = lean.collate([dataset[0]])
    assert batch[lean.VOXELS].dtype == torch.float16
    shape = crop_shape(data, measure_data(data), 32, is_lean=True)
    assert shape.handed_bytes[2] == batch[lean.VOXELS].nbytes


def test_frames_with_different_numbers_of_ticks_share_a_batch():
    window = Window(0, 0, 2, 8)
    rng = np.random.default_rng(0)
    samples, expected = [], []
    for ticks in (9, 13):
        stream = encode(rng.integers(0, 2, (ticks, 2, 8)))
        expected.append(voxelise(stream, 4, theta=1.0, window=window))
        picture = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
        samples.append(
            {
                "blur": picture,
                "sharp": picture,
                lean.SPIKES: torch.from_numpy(lean.packed_crop(stream, window)[None]),
                lean.GUIDE: lean.spike_guide([(ticks, 1.0)], 8, Turn(), 4, "flat"),
            }
        )
    _, voxels, _ = lean.on_device(lean.collate(samples), CPU)
    np.testing.assert_array_equal(voxels[:, 0].numpy(), np.stack(expected))


def test_too_few_ticks_for_the_bins_are_refused_by_the_loading_process(unified):
    dataset = lean_set(train_set(unified, k=4000))
    with pytest.raises(DataError, match=r"cannot fill DATA\.K=4000"):
        dataset[0]


@pytest.mark.parametrize(
    ("asked", "cuda", "is_lean"),
    [("auto", True, True), ("auto", False, False), (True, False, True), (False, True, False)],
)
def test_a_gpu_finishes_samples_unless_told_otherwise(unified, asked, cuda, is_lean):
    made = build_loaders(
        config(unified, clip_len=3, crop_size=32, lean_samples=asked),
        DataLoaderConfig(total_workers=0, pin_memory=False),
        LoaderJob(cuda=cuda),
    )
    for loader in (made.train, made.val):
        assert (lean.SPIKES in next(iter(loader))) == is_lean


def test_a_sample_is_handed_over_as_large_as_forecast(unified):
    data = config(unified, clip_len=3, crop_size=32, lean_samples=True)
    made = build_loaders(data, DataLoaderConfig(total_workers=0), LoaderJob())
    batch = next(iter(made.train))
    handed = sum(each.numel() * each.element_size() for each in lean.copied_tensors(batch))
    shape = crop_shape(data, measure_data(data), 32, is_lean=True)
    assert handed == sum(shape.handed_bytes)


def test_a_sample_of_the_published_sizes_is_a_seventeenth_of_the_documented_one(tmp_path):
    data = config(tmp_path / "nothing", clip_len=5, crop_size=256, k=32)
    shape = crop_shape(data, measure_data(data), 256, is_lean=True)
    documented = 5 * 256 * 256 * (2 * 3 + 32) * 4
    assert 16 < documented / shape.handed_sample_bytes < 18
