"""Tiny data sets, made by the code under test itself: 64x64 pictures with 32x32 spikes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from vrtspike.data.spike_camera import SpikeCamera
from vrtspike.data.spike_config import write_spike_config
from vrtspike.data.spike_stream import encode, write_dat

AVERAGED = 2
TICKS = 8 * AVERAGED


def scene(seed, side=64):
    """A textured picture (side, side, 3) uint8 that is not symmetric in any way."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((side, side, 3)), (0, 0), 4)
    slope = np.linspace(0, 0.3, side)
    noise = (noise - noise.min()) / np.ptp(noise) * 0.6 + (slope[:, None] + slope / 3)[..., None]
    return np.rint(255 * np.clip(noise, 0, 1)).astype(np.uint8)


def write_picture(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture[:, :, ::-1]))


def write_clip(folder: Path, frames=6, *, side=64, spikes=None, seed=0, kinds=("blur",)):
    """A still scene that drifts: blurry, sharp and spike files of `frames` frames."""
    spikes = spikes or folder / "spike"
    spikes.mkdir(parents=True, exist_ok=True)
    camera = SpikeCamera(side // 2, side // 2, seed=seed)
    wide = scene(seed, side + frames)
    for number in range(frames):
        sharp = wide[number : number + side, :side]
        for kind in (*kinds, "sharp"):
            write_picture(folder / kind / f"{number:06d}.png", sharp)
        gray = cv2.cvtColor(sharp, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(gray, (side // 2, side // 2), interpolation=cv2.INTER_AREA) / 255.0
        light = np.broadcast_to(small, (TICKS, *small.shape))
        write_dat(spikes / f"{number:06d}.dat", encode(camera.expose(light)))


@pytest.fixture
def unified(tmp_path):
    """A unified tree: two train clips, one val clip, and config.yaml."""
    root = tmp_path / "tree"
    for number, name in enumerate(("train/a", "train/deep/b", "val/c")):
        write_clip(root / name, seed=number, kinds=("blur", "blur_gamma"))
    write_spike_config(root, {"spike_h": 32, "spike_w": 32, "ticks_per_frame": TICKS})
    return root


@pytest.fixture
def clip_writer():
    """`write_clip`, for tests that build another layout."""
    return write_clip
