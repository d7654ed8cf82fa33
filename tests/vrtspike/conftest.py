"""A tiny project: real-format clips and the smallest whole VRT-Spike that trains on them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from vrtspike.data.spike_camera import SpikeCamera
from vrtspike.data.spike_config import write_spike_config
from vrtspike.data.spike_stream import encode, write_dat

TICKS = 16
SIDE = 48
SHIFTS = 3  # pixels that the scene drifts during one exposure


def drifting_scene(seed: int, frames: int, side: int = SIDE) -> np.ndarray:
    """(frames * SHIFTS, side, side, 3) uint8: a textured picture that moves one pixel a time."""
    rng = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(rng.random((side, side + frames * SHIFTS, 3)), (0, 0), 2)
    wide = np.rint(255 * (wide - wide.min()) / np.ptp(wide)).astype(np.uint8)
    return np.stack([wide[:, n : n + side] for n in range(frames * SHIFTS)])


def write_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture[:, :, ::-1]))


def write_clip(folder: Path, frames: int, seed: int) -> None:
    camera = SpikeCamera(SIDE // 2, SIDE // 2, seed=seed)
    scene = drifting_scene(seed, frames)
    (folder / "spike").mkdir(parents=True)
    for number in range(frames):
        exposure = scene[number * SHIFTS : (number + 1) * SHIFTS]
        name = f"{number:06d}"
        write_picture(folder / "sharp" / f"{name}.png", exposure[SHIFTS // 2])
        blurry = np.rint(exposure.mean(0)).astype(np.uint8)
        write_picture(folder / "blur" / f"{name}.png", blurry)
        gray = cv2.cvtColor(exposure[SHIFTS // 2], cv2.COLOR_RGB2GRAY) / 255.0
        light = cv2.resize(gray, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        ticks = np.broadcast_to(light, (TICKS, *light.shape))
        write_dat(folder / "spike" / f"{name}.dat", encode(camera.expose(ticks)))


@dataclass(frozen=True)
class Project:
    """A working directory with `config.yaml` and `tree`, the data set."""

    root: Path
    config: Path

    @property
    def tree(self) -> Path:
        return self.root / "tree"


def tiny_config(root: str) -> dict:
    return {
        "SEED": 7,
        "DATA": {"ROOT": root, "CLIP_LEN": 2, "CROP_SIZE": 40, "K": 2},
        "MODEL": {
            "CHANNELS_PER_SCALE": [8, 8, 8, 8],
            "VRT_DEPTHS": [1, 1, 1, 1, 1, 1, 1, 1],
            "WINDOW_SIZE": 2,
            "NUM_HEADS": 2,
            "DEFORM_GROUPS": 2,
            "DROP_PATH_RATE": 0.2,
            "SPIKE_TSA": {"HEADS": 2, "DROPOUT": 0.1},
            "FUSE": {"HEADS": 2, "SCALES": [2]},
        },
        "DATALOADER": {"TOTAL_WORKERS": 0},
        "TRAIN": {"TOTAL_STEPS": 3, "OPTIM": {"LR": 1e-3}, "SCHED": {"WARMUP_STEPS": 1}},
        "LOG": {"TENSORBOARD": False, "STEP_EVERY_STEPS": 1, "VAL_EVERY_STEPS": 1000},
        "PROFILING": {"RESOURCES": False},
    }


@pytest.fixture(scope="session")
def tiny_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two train clips and one val clip of four 48x48 frames; not to be changed."""
    root = tmp_path_factory.mktemp("tiny") / "tree"
    for number, name in enumerate(("train/a", "train/b", "val/c")):
        write_clip(root / name, frames=4, seed=number)
    write_spike_config(root, {"spike_h": SIDE // 2, "spike_w": SIDE // 2, "theta": 2.0})
    return root


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[[str], dict]:
    """The tiny configuration as plain data, for a data set at the given path."""
    return tiny_config


@pytest.fixture
def project(tmp_path: Path, tiny_tree: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A working directory of its own over the shared data set."""
    (tmp_path / "tree").symlink_to(tiny_tree, target_is_directory=True)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tiny_config("tree")))
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, config)
