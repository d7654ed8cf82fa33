"""From raw GoPro and spikes to the unified tree."""

import signal
import subprocess
import sys

import pytest
import torch

from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.layouts import find_clips
from vrtspike.data.prepare import main
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_config import load_spike_config, write_spike_config

CLIPS = {
    "train": ["GOPR0001_02_00", "GOPR0001_02_01", "GOPR0002_02_00"],
    "test": ["GOPR0003_02_00"],
}


@pytest.fixture
def raw(tmp_path, clip_writer):
    for split, names in CLIPS.items():
        for number, name in enumerate(names):
            clip_writer(
                tmp_path / "GOPRO_Large" / split / name,
                frames=3,
                spikes=tmp_path / "elsewhere" / split / name / "spike",
                seed=number,
                kinds=("blur", "blur_gamma"),
            )
    write_spike_config(tmp_path / "elsewhere", {"spike_h": 32, "spike_w": 32})
    return tmp_path


def run(raw, *more):
    sources = ["--gopro", str(raw / "GOPRO_Large"), "--spikes", str(raw / "elsewhere")]
    return main([*sources, "--out", str(raw / "out"), *more])


def clips_of(raw, split):
    return {clip.name for clip in find_clips(DataConfig(root=str(raw / "out")), split)}


def failure(raw, capsys, *more):
    assert run(raw, *more) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_validation_clips_are_moved_out_of_training(raw):
    assert run(raw, "--val-ratio", "0.4") == 0
    train, val = clips_of(raw, "train"), clips_of(raw, "val")
    assert len(val) == 1
    assert train | val == set(CLIPS["train"])
    assert not train & val
    assert clips_of(raw, "test") == set(CLIPS["test"])
    blur = raw / "out" / "test" / "GOPR0003_02_00" / "blur_gamma"
    assert blur.is_symlink()


def test_same_seed_same_split(raw):
    assert run(raw) == 0
    first = clips_of(raw, "val")
    other = ["--out", str(raw / "again")]
    assert run(raw, *other) == 0
    assert {c.name for c in find_clips(DataConfig(root=str(raw / "again")), "val")} == first


def test_copy_and_voxels_train_like_the_raw_data(raw):
    assert run(raw, "--copy", "--voxels", "4") == 0
    sensor = load_spike_config(raw / "out" / "config.yaml")
    assert (sensor.voxel_bins, sensor.voxel_mode) == (4, "flat")
    assert not any(path.is_symlink() for path in (raw / "out").rglob("*"))
    base = {"root": str(raw / "out"), "clip_len": 2, "crop_size": 32, "k": 4}
    made = SpikeDeblurDataset(DataConfig(**base), "train", training=True)
    stored = SpikeDeblurDataset(
        DataConfig(**base, use_precomputed_voxels=True), "train", training=True
    )
    assert len(made) == len(stored) > 0
    for index in range(len(made)):
        torch.testing.assert_close(
            made[index]["spike_vox"], stored[index]["spike_vox"], rtol=1e-3, atol=0
        )


def test_a_fast_store_is_made_in_the_same_go(raw, capsys):
    assert run(raw, "--fast-store", str(raw / "store")) == 0
    assert f"{raw / 'store'}: ready; set DATA.FAST_STORE to it" in capsys.readouterr().out
    data = DataConfig(root=str(raw / "out"), clip_len=2, crop_size=32, k=4)
    plain, fast = (SpikeDeblurDataset(data, "train", training=True) for _ in range(2))
    fast.use_store(raw / "store")
    assert torch.equal(plain[0]["blur"], fast[0]["blur"])
    alone = ["--out", str(raw / "alone"), "--val-ratio", "0"]
    assert run(raw, *alone, "--fast-store", str(raw / "second")) == 0


KILLED = """
import os, signal, sys
from vrtspike.data import prepare
real = prepare._write_voxels
def die_in_the_second_clip(folder, clip, params, seen=[]):
    real(folder, clip, params)
    seen.append(clip)
    if len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
prepare._write_voxels = die_in_the_second_clip
prepare.main(sys.argv[1:])
"""


def test_killed_in_the_middle_it_goes_on_where_it_was(raw, capsys):
    arguments = ["--gopro", str(raw / "GOPRO_Large"), "--spikes", str(raw / "elsewhere")]
    arguments += ["--out", str(raw / "out"), "--voxels", "4"]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    made = [p for p in (raw / "out").glob("*/GOPR*") if p.is_dir()]
    assert len(made) == 1
    before = (made[0] / "spike_vox").stat().st_ino
    assert main(arguments) == 0
    assert (made[0] / "spike_vox").stat().st_ino == before
    assert capsys.readouterr().out.count("already there") == 1
    assert len(list((raw / "out").glob("*/GOPR*/spike_vox/*.npy"))) == 12
    assert not list((raw / "out").rglob(".*building*"))


def test_other_arguments_do_not_mix_with_an_earlier_tree(raw, capsys):
    assert run(raw) == 0
    assert "other arguments" in failure(raw, capsys, "--voxels", "4")


def test_a_broken_spike_file_is_named_and_its_clip_left_out(raw, capsys):
    path = raw / "elsewhere/test/GOPR0003_02_00/spike/000001.dat"
    path.write_bytes(path.read_bytes()[:-5])
    assert str(path) in failure(raw, capsys)
    assert not (raw / "out" / "test").exists()


def test_wrong_arguments_are_one_line(raw, capsys, tmp_path):
    assert "--spikes" in failure(raw, capsys, "--spikes", str(tmp_path / "none"))
    assert "--val-ratio" in failure(raw, capsys, "--val-ratio", "1.5")
    assert "too few" in failure(raw, capsys, "--val-ratio", "0.9")
    assert "voxels" in failure(raw, capsys, "--voxels", "0")
    (raw / "mine").mkdir()
    (raw / "mine" / "x").write_text("")
    assert "not empty" in failure(raw, capsys, "--out", str(raw / "mine"))
    assert "no train split" in failure(raw, capsys, "--gopro", str(raw / "elsewhere" / "test"))


def test_a_frame_without_spikes_is_said(raw, capsys):
    (raw / "elsewhere/train/GOPR0002_02_00/spike/000002.dat").unlink()
    assert run(raw) == 0
    assert "1 frames lack files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("GOPRO_Large/new", "lies inside"),
        ("elsewhere/new", "lies inside"),
        ("file", "is not a folder"),
    ],
)
def test_an_out_that_is_no_place_of_its_own_is_refused(raw, capsys, out, words):
    (raw / "file").write_text("mine")
    sources = ["--gopro", str(raw / "GOPRO_Large"), "--spikes", str(raw / "elsewhere")]
    assert main([*sources, "--out", str(raw / out)]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert (raw / "file").read_text() == "mine"
    assert not (raw / "elsewhere/new").exists()
