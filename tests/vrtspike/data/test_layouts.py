"""Every layout is found, gaps break windows, and a missing folder says what to do."""

import shutil
from pathlib import Path

import pytest

from vrtspike.data.layouts import find_clips, window_starts
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_config import GOPRO_DEFAULT, write_spike_config
from vrtspike.errors import DataError


def names_and_files(root, split="train", **settings):
    clips = find_clips(DataConfig(root=str(root), **settings), split)
    assert all(f.sharp and f.spikes for clip in clips for f in clip.frames)
    return {clip.name: [f.number for f in clip.frames] for clip in clips}, clips


def test_unified_tree_is_searched_recursively(unified):
    found, clips = names_and_files(unified)
    assert found == {"a": [0, 1, 2, 3, 4, 5], "deep/b": [0, 1, 2, 3, 4, 5]}
    assert clips[0].sensor.spike_h == 32
    assert clips[0].expected_ticks == 16


def test_what_may_not_be_looked_at_is_left_out(unified, monkeypatch):
    (unified / "train" / "secret").mkdir()
    stat = Path.stat

    def refuse(path, **options):
        if "secret" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    assert list(names_and_files(unified)[0]) == ["a", "deep/b"]


def raw_gopro(root, clip_writer, sensor=True):
    name = "GOPR0001_02_00"
    spikes = root / "GOPRO_Large_spike_seq" / "train" / name / "spike"
    clip_writer(root / "GOPRO_Large" / "train" / name, spikes=spikes, kinds=("blur", "blur_gamma"))
    if sensor:
        write_spike_config(root / "GOPRO_Large_spike_seq", {"spike_h": 32, "spike_w": 32})
    return name


@pytest.mark.parametrize("inner", ["", "GOPRO_Large"])
@pytest.mark.parametrize("blur", ["blur", "blur_gamma"])
def test_raw_gopro_with_spikes_beside_it(tmp_path, clip_writer, inner, blur):
    name = raw_gopro(tmp_path, clip_writer)
    found, clips = names_and_files(tmp_path / inner, blur_dir=blur)
    assert list(found) == [name]
    assert clips[0].frames[0].blur.parent.name == blur
    assert clips[0].sensor.spike_w == 32
    assert clips[0].expected_ticks == 16  # from the 02 in the name


def test_gopro_without_sensor_file_has_the_published_size(tmp_path, clip_writer):
    raw_gopro(tmp_path, clip_writer, sensor=False)
    assert names_and_files(tmp_path)[1][0].sensor == GOPRO_DEFAULT


def test_kair_names(tmp_path, clip_writer):
    name = raw_gopro(tmp_path, clip_writer)
    gopro = tmp_path / "GOPRO_Large"
    (gopro / "train_GT").mkdir()
    (gopro / "train_GT_blurred").mkdir()
    (gopro / "train" / name / "sharp").rename(gopro / "train_GT" / name)
    (gopro / "train" / name / "blur").rename(gopro / "train_GT_blurred" / name)
    shutil.rmtree(gopro / "train")
    found, clips = names_and_files(tmp_path)
    assert found == {name: [0, 1, 2, 3, 4, 5]}
    assert clips[0].frames[0].blur.parent.parent.name == "train_GT_blurred"
    assert clips[0].frames[0].sharp.parent.parent.name == "train_GT"
    with pytest.raises(DataError, match="one kind of blurry picture"):
        names_and_files(tmp_path, blur_dir="blur_gamma")


def test_links_are_followed_and_a_loop_of_links_ends(unified, tmp_path):
    (tmp_path / "other" / "train").mkdir(parents=True)
    (tmp_path / "other" / "train" / "a").symlink_to(unified / "train" / "a")
    (tmp_path / "other" / "train" / "loop").symlink_to(tmp_path / "other" / "train")
    assert "a" in names_and_files(tmp_path / "other")[0]


def test_windows_do_not_cross_a_missing_file_or_a_jump(unified):
    def starts(**more):
        clip = find_clips(DataConfig(root=str(unified)), "train")[0]
        return window_starts(clip, 2, voxels=False, **more)

    assert starts() == [0, 1, 2, 3, 4]
    assert starts(stride=2) == [0, 2, 4]
    assert starts(stride=3) == [0, 3, 4]  # the last frame is never left out
    (unified / "train/a/spike/000002.dat").unlink()
    assert starts() == [0, 3, 4]
    for kind in ("blur", "sharp", "spike"):
        for file in (unified / "train/a" / kind).glob("000004.*"):
            file.unlink()
    assert starts() == [0]


def test_missing_root_says_how_to_make_the_demo_data(tmp_path):
    with pytest.raises(DataError, match=r"python -m vrtspike\.data\.sample_video") as caught:
        find_clips(DataConfig(root=str(tmp_path / "none")), "train")
    assert "\n" not in str(caught.value)


def test_missing_split_and_empty_split_are_told_apart(unified):
    with pytest.raises(DataError, match=r"no split 'test'; it has: train, val"):
        find_clips(DataConfig(root=str(unified)), "test")
    (unified / "test" / "x").mkdir(parents=True)
    with pytest.raises(DataError, match="no clip found"):
        find_clips(DataConfig(root=str(unified)), "test")
