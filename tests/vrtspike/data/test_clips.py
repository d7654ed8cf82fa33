"""The data set: what a sample holds, that both sensors see the same place, and its errors."""

import itertools
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.contract import check_clips
from vrtspike.data.cropping import (
    FramePair,
    Turn,
    centre_window,
    pair_sizes,
    random_turn,
    random_window,
)
from vrtspike.data.frames import open_voxels, picture_size, read_rgb
from vrtspike.data.settings import CropStage, DataConfig
from vrtspike.data.spike_config import write_spike_config
from vrtspike.errors import DataError


def config(root, **settings):
    given = {"clip_len": 3, "crop_size": 32, "k": 4, **settings}
    return DataConfig(root=str(root), **given)


def train_set(root, seed=0, **settings):
    return SpikeDeblurDataset(config(root, **settings), "train", training=True, seed=seed)


def val_set(root, **settings):
    return SpikeDeblurDataset(config(root, **settings), "val", training=False)


def gray(pictures):
    """(T, 3, h, w) as the spike camera sees it, (T, h/2, w/2)."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return torch.nn.functional.avg_pool2d((pictures * weights).sum(1), 2)


def test_a_sample_has_the_promised_shapes(unified):
    dataset = train_set(unified)
    assert len(dataset) == 2 * (6 - 3 + 1)
    sample = dataset[5]
    assert sample["blur"].shape == sample["sharp"].shape == (3, 3, 32, 32)
    assert sample["spike_vox"].shape == (3, 4, 16, 16)
    assert sample["meta"]["seq"] == "deep/b"
    assert sample["meta"]["frame_idx"].tolist() == [1, 2, 3]
    assert all(sample[k].dtype == torch.float32 for k in ("blur", "sharp", "spike_vox"))
    assert 0.2 < sample["blur"].max() <= 1.0
    batch = default_collate([dataset[0], dataset[4]])
    assert batch["blur"].shape == (2, 3, 3, 32, 32)
    assert batch["meta"]["seq"] == ["a", "deep/b"]
    assert batch["meta"]["frame_idx"].shape == (2, 3)


def test_spikes_show_the_same_place_the_same_way_round(unified):
    dataset = train_set(unified, k=1)
    seen = set()
    for epoch, index in itertools.product(range(6), range(len(dataset))):
        dataset.set_epoch(epoch)
        sample = dataset[index]
        error = (sample["spike_vox"][:, 0] - gray(sample["sharp"])).abs().mean()
        assert error < 0.07
        seen.add(tuple(sample["sharp"].flatten()[:12].tolist()))
    assert len(seen) > 30  # and they are not all the same place


def test_without_turning_the_crop_is_a_part_of_the_picture(unified):
    dataset = train_set(unified, augment=False)
    picture = cv2.imread(str(unified / "train/a/sharp/000000.png"))[:, :, ::-1] / 255.0
    sample = dataset[0]["sharp"][0].permute(1, 2, 0).numpy()
    places = [
        (top, left)
        for top in range(0, 33, 2)
        for left in range(0, 33, 16)
        if np.allclose(picture[top : top + 32, left : left + 32], sample, atol=1e-6)
    ]
    assert len(places) == 1


def test_validation_takes_the_middle_or_the_whole_and_never_changes(unified):
    middle = val_set(unified, val_crop_size=32)
    picture = cv2.imread(str(unified / "val/c/blur/000000.png"))[:, :, ::-1] / 255.0
    first = middle[0]["blur"]
    assert np.allclose(first[0].permute(1, 2, 0).numpy(), picture[16:48, 16:48], atol=1e-6)
    middle.set_epoch(3)
    assert torch.equal(middle[0]["blur"], first)
    assert val_set(unified)[0]["blur"].shape == (3, 3, 64, 64)


def test_samples_depend_on_seed_epoch_and_index_alone(unified):
    first, again = train_set(unified), train_set(unified)
    first.set_epoch(2)
    for index in range(len(first)):  # an earlier draw must not move a later one
        first[index]
    again.set_epoch(2)
    assert torch.equal(first[3]["blur"], again[3]["blur"])
    assert torch.equal(first[3]["spike_vox"], again[3]["spike_vox"])
    draws = [first[3]["blur"]]
    again.set_epoch(3)
    draws.append(again[3]["blur"])
    other = train_set(unified, seed=1)
    other.set_epoch(2)
    draws.append(other[3]["blur"])
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(draws, 2))


def test_the_crop_grows_with_the_schedule(unified):
    schedule = (CropStage(until_epoch=2, crop_size=16), CropStage(until_epoch=4, crop_size=32))
    dataset = train_set(unified, crop_schedule=schedule, crop_size=64)
    sides = []
    for epoch in (0, 1, 2, 3, 4):
        dataset.set_epoch(epoch)
        sample = dataset[0]
        assert sample["spike_vox"].shape[-1] * 2 == sample["blur"].shape[-1]
        sides.append(sample["blur"].shape[-1])
    assert sides == [16, 16, 32, 32, 64]


@pytest.mark.parametrize("mode", ["flat", "documented"])
def test_precomputed_voxels_equal_those_made_while_loading(unified, mode):
    made = train_set(unified, voxel_mode=mode, augment=True)
    for clip in made.clips:
        whole = SpikeDeblurDataset(
            config(unified, clip_len=6, crop_size=64, augment=False, voxel_mode=mode),
            "train",
            training=True,
        )
        number = [c.name for c in whole.clips].index(clip.name)
        folder = clip.folder / "spike_vox"
        folder.mkdir()
        for frame, voxels in zip(clip.frames, whole[number]["spike_vox"], strict=True):
            np.save(folder / f"{frame.blur.stem}.npy", voxels.numpy())
    stored = train_set(unified, voxel_mode=mode, use_precomputed_voxels=True)
    for index in range(len(made)):
        assert torch.equal(made[index]["spike_vox"], stored[index]["spike_vox"])


def test_voxels_of_another_kind_are_refused(unified):
    folder = unified / "train/a/spike_vox"
    folder.mkdir()
    for number in range(6):
        np.save(folder / f"{number:06d}.npy", np.zeros((8, 32, 32), np.float16))
    dataset = train_set(unified, use_precomputed_voxels=True)
    with pytest.raises(DataError, match="8 voxel bins"):
        dataset[0]
    np.save(folder / "000000.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"000000\.npy"):
        train_set(unified, use_precomputed_voxels=True)
    for file in folder.iterdir():
        file.write_bytes(b"\x93NUMPY\x01")
    with pytest.raises(DataError, match="cannot read the voxels"):
        train_set(unified, use_precomputed_voxels=True)
    write_spike_config(unified, {"spike_h": 32, "spike_w": 32, "voxel_mode": "documented"})
    with pytest.raises(DataError, match="VOXEL_MODE"):
        train_set(unified, use_precomputed_voxels=True)


def test_the_cache_changes_nothing_but_the_work(unified):
    from vrtspike.data.cache import CacheShare

    plain, cached = train_set(unified), train_set(unified)
    share = CacheShare(10**8, workers=0, local_ranks=1)
    cached.use_cache(share)
    for _ in range(2):
        for index in range(len(plain)):
            for key in ("blur", "sharp", "spike_vox"):
                assert torch.equal(plain[index][key], cached[index][key])
    stats = cached.cache_stats()
    assert stats.items == stats.misses == 2 * 6 * 3
    assert stats.memory_bytes == 12 * (2 * 64 * 64 * 3 + 16 * 32 * 32 // 8)  # as stored, not float


def test_cache_report_names_the_data_set(unified, capsys):
    train_set(unified).print_cache_stats()
    assert "off" in capsys.readouterr().out


def test_summary_counts_what_was_left_out(unified, clip_writer):
    clip_writer(unified / "train" / "short", frames=2)
    (unified / "train/a/spike/000000.dat").unlink()
    lines = train_set(unified).summary()
    assert lines[0] == "[SpikeDeblurDataset] Found 7 samples in split 'train'"
    assert "1 frame is incomplete" in lines[1]
    assert "train/a/blur/000000.png" in lines[1]
    assert "1 of 3 clips are shorter than CLIP_LEN 3" in lines[2]


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors_name_the_file(unified, clip_writer):
    with pytest.raises(DataError, match=r"64x64 pixels are less than the crop of 128") as caught:
        train_set(unified, crop_size=128)
    assert ".png" in one_line(caught)
    with pytest.raises(DataError, match="less than the crop of 72"):
        val_set(unified, val_crop_size=72)
    with pytest.raises(DataError, match="CLIP_LEN"):
        train_set(unified, clip_len=7)
    for file in (unified / "train/a/spike").iterdir():
        file.unlink()
    for file in (unified / "train/deep/b/sharp").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="no complete frames"):
        train_set(unified)


def test_a_broken_picture_is_named(unified, capfd):
    dataset = val_set(unified)
    path = unified / "val/c/sharp/000001.png"
    whole = path.read_bytes()
    damaged = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    broken = {b"": r"empty \(0 bytes\): put a whole copy in its place, or delete it: its frame"}
    broken |= {b"no picture": "decoded, or cut short, at 10 bytes: put", damaged: "wrong checksum"}
    cut = {count: rf"cut short after {count} of at least \d+ bytes: put" for count in (60, 9, 39)}
    cut |= {len(whole) - 1: f"after {len(whole) - 1} of at least {len(whole)} bytes"}
    cut |= {len(whole) - 9: f"after {len(whole) - 9} of at least {len(whole)} bytes"}
    broken |= {whole[:count]: word for count, word in cut.items()}
    broken |= {whole[:33] + b"\xff" + whole[34:]: "damaged near byte 33"}
    for data, word in broken.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=word) as caught:
            dataset[0]
        assert "000001.png" in one_line(caught)
    assert capfd.readouterr().err == ""  # the decoder does not add lines of its own
    path.write_bytes(whole[:16] + (10**6).to_bytes(4, "big") * 2 + whole[24:])
    with pytest.raises(DataError, match="not the size of a video frame"):
        dataset[0]
    assert cv2.imwrite(str(path), np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(DataError, match="32x64 pixels, but"):
        dataset[0]


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".tif"])
def test_a_picture_of_another_format_that_is_cut_is_named(unified, capfd, suffix):
    """Whatever the version of OpenCV makes of what is missing."""
    whole = cv2.imread(str(unified / "val/c/sharp/000001.png"))
    (unified / "val/c/sharp/000001.png").unlink()
    path = unified / f"val/c/sharp/000001{suffix}"
    assert cv2.imwrite(str(path), whole)
    dataset, content = val_set(unified), path.read_bytes()
    assert dataset[0]["sharp"].shape == (3, 3, 64, 64)
    for count in (1, 3, 25, len(content) // 2, len(content) - 2):
        path.write_bytes(content[:count])
        with pytest.raises(DataError, match=rf"cut short.* {count} ") as caught:
            dataset[0]
        assert f"000001{suffix}: " in one_line(caught)
    assert capfd.readouterr().err == ""


def test_names_and_sizes_that_decoders_do_not_bear_are_one_line(unified):
    """OpenCV ends the process at a name that is no UTF-8, and raises at 40000x40000 pixels."""
    folder = unified / "val/c/sharp"
    (folder / "000001.png").unlink()
    path = Path(os.fsdecode(os.fsencode(folder) + b"/000001.bmp"))
    assert cv2.imwrite(str(folder / "x.bmp"), np.zeros((64, 64, 3), np.uint8))
    head = bytearray((folder / "x.bmp").read_bytes())
    (folder / "x.bmp").unlink()
    head[18:26] = (40_000).to_bytes(4, "little") * 2
    path.write_bytes(head)
    with pytest.raises(DataError, match="not a picture that can be decoded"):
        val_set(unified)[0]
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n.bmp"))
    path.rename(odd)
    with pytest.raises(DataError, match="not a picture that can be decoded") as caught:
        picture_size(odd)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sharp/000001.png", "spike_vox/000001.npy"])
def test_what_is_no_plain_file_is_not_waited_for(unified, name):
    path = unified / "val/c" / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    read = read_rgb if path.suffix == ".png" else open_voxels
    with pytest.raises(DataError, match="it is a pipe"):
        read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="no plain file"):
        read(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match=r"more than|cannot read the voxels"):
        read(path)


def test_a_truncated_spike_file_is_named_before_training(unified):
    path = unified / "train/a/spike/000002.dat"
    path.write_bytes(path.read_bytes()[:-7])
    dataset = train_set(unified)
    with pytest.raises(DataError, match=r"000002\.dat"):
        check_clips(dataset.clips)
    with pytest.raises(DataError, match=r"000002\.dat"):
        dataset[0]


def test_sizes_that_do_not_fit_each_other_are_refused(unified):
    write_spike_config(unified, {"spike_h": 24, "spike_w": 32})
    with pytest.raises(DataError, match="64x64 and the spikes are 24x32"):
        train_set(unified)


def test_windows_lie_inside_and_on_the_sensor_grid():
    for picture, spikes, size in [((136, 320), (68, 160), 64), ((64, 64), (16, 16), 48)]:
        pair = pair_sizes(picture, spikes, "x")
        rng = np.random.default_rng(0)
        windows = [random_window(pair, size, rng) for _ in range(300)]
        for w in windows:
            assert w.top % pair.scale == w.left % pair.scale == 0
            assert 0 <= w.top <= picture[0] - size
            assert 0 <= w.left <= picture[1] - size
            on_sensor = pair.spike_window(w)
            assert on_sensor.height * pair.scale == size
        assert max(w.top for w in windows) == picture[0] - size
        assert min(w.top for w in windows) == 0
        assert len({w.left for w in windows}) > 1


def test_whole_frames_are_cut_to_what_the_network_takes():
    window = centre_window(FramePair(270, 482, 2), None)
    assert (window.height, window.width) == (264, 480)
    with pytest.raises(DataError):
        centre_window(FramePair(6, 64, 2), None)


def test_turns_are_the_eight_of_a_square():
    square = np.arange(9).reshape(3, 3)
    rng = np.random.default_rng(0)
    turns = {random_turn(rng, square=True) for _ in range(200)}
    assert len({Turn.apply(t, square).tobytes() for t in turns}) == 8
    flat = {random_turn(rng, square=False) for _ in range(200)}
    assert {t.quarters for t in flat} == {0}
