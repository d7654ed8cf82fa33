"""The loaders that `data_pipeline.py` holds ours against, and the floors under all of them.

Each is a function of a list of (frames, window) that makes one sample after the other.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vrtspike.data.layouts import Frame
from vrtspike.data.lean import copy_packed
from vrtspike.data.spike_stream import ByteArray, SpikeStream, Window

BINS = 32
SPIKE_HEIGHT, SPIKE_WIDTH, SCALE = 360, 640, 2
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Draw:
    """One sample to make: its frames, and where they are cut."""

    frames: Sequence[Frame]
    window: Window

    @property
    def on_sensor(self) -> Window:
        """The same rectangle on the spike sensor."""
        window = self.window
        sides = window.top, window.left, window.height, window.width
        return Window(*(side // SCALE for side in sides))


Sample = tuple[Tensor, Tensor, Tensor]
MakeSample = Callable[[Draw], object]


def paths_of(frame: Frame) -> tuple[str, str, str]:
    """Blurry and sharp picture and spikes of a complete frame."""
    return str(frame.blur), str(frame.sharp), str(frame.spikes)


def decode(path: str) -> ByteArray:
    """A PNG as RGB, by the fastest decoder that a user would install."""
    return np.asarray(cv2.imread(path, cv2.IMREAD_COLOR_RGB), np.uint8)


def spikes_of(path: str) -> ByteArray:
    """All ticks of a file as 0 and 1, upright."""
    packed = np.fromfile(path, np.uint8).reshape(-1, SPIKE_HEIGHT * SPIKE_WIDTH // 8)
    return SpikeStream(packed, SPIKE_HEIGHT, SPIKE_WIDTH).unpack()


# --- the documented loader -----------------------------------------------------------------------


class DocumentedLoader:
    """The performance guide's: whole frames as float32 of 133.59 MiB, cut when they are complete.

    Its choices are the kind ones: OpenCV's decoder and NumPy's bits rather than a loop.

    Args:
        cached_frames: How many frames its own cache keeps; `get` returns a copy, as documented.
    """

    def __init__(self, cached_frames: int = 0) -> None:
        self._limit = cached_frames
        self._cache: OrderedDict[str, Sample] = OrderedDict()

    def __call__(self, draw: Draw) -> Sample:
        """Make a sample: float32 pictures (T, 3, h, w), voxels (T, 32, h, w)."""
        frames = [self._frame(frame) for frame in draw.frames]
        rows, columns = draw.window.slices()
        blur, sharp, voxels = (
            torch.stack([kind[:, rows, columns] for kind in kinds])
            for kinds in zip(*frames, strict=True)
        )
        return blur, sharp, voxels

    def _frame(self, frame: Frame) -> Sample:
        key = str(frame.blur)
        if key in self._cache:
            self._cache.move_to_end(key)
            blur, sharp, voxels = (kept.clone() for kept in self._cache[key])
            return blur, sharp, voxels
        blur_path, sharp_path, spike_path = paths_of(frame)
        made = self._picture(blur_path), self._picture(sharp_path), self._voxels(spike_path)
        if self._limit:
            if len(self._cache) == self._limit:
                self._cache.popitem(last=False)
            self._cache[key] = made
        return made

    def _picture(self, path: str) -> Tensor:
        scaled = decode(path).astype(np.float32) / 255.0
        return torch.from_numpy(scaled).permute(2, 0, 1).contiguous()

    def _voxels(self, path: str) -> Tensor:
        spikes = spikes_of(path)
        voxels = np.zeros((BINS, SPIKE_HEIGHT, SPIKE_WIDTH), np.float32)
        for tick, picture in enumerate(spikes):
            voxels[min(BINS - 1, tick * BINS // len(spikes))] += picture
        small = torch.from_numpy(np.log1p(voxels))[None]
        size = SPIKE_HEIGHT * SCALE, SPIKE_WIDTH * SCALE
        return torch.nn.functional.interpolate(small, size, mode="bilinear")[0]


# --- the plain correct loader --------------------------------------------------------------------


def plain_sample(draw: Draw, theta: float = 2.0) -> Sample:
    """Whole frames decoded and counted, in the simplest words; ours must give the same bits."""
    rows, columns = draw.window.slices()
    sensor_rows, sensor_columns = draw.on_sensor.slices()
    pictures: list[list[ByteArray]] = [[], []]
    voxels = []
    for frame in draw.frames:
        blur_path, sharp_path, spike_path = paths_of(frame)
        for made, path in zip(pictures, (blur_path, sharp_path), strict=True):
            made.append(decode(path)[rows, columns].transpose(2, 0, 1))
        spikes = spikes_of(spike_path)[:, sensor_rows, sensor_columns]
        voxels.append(plain_voxels(spikes, theta))
    blur, sharp = (torch.from_numpy(np.stack(each)).float() / 255.0 for each in pictures)
    return blur, sharp, torch.from_numpy(np.stack(voxels))


def plain_voxels(spikes: ByteArray, theta: float) -> Floats:
    """theta times the mean of the ticks t of each bin floor(t * BINS / ticks)."""
    owner = np.arange(len(spikes)) * BINS // len(spikes)
    bins = [spikes[owner == number] for number in range(BINS)]
    gains = [np.float32(theta / len(each)) for each in bins]
    counts = [each.sum(0, dtype=np.float32) for each in bins]
    return np.stack([count * gain for count, gain in zip(counts, gains, strict=True)])


# --- the floors ----------------------------------------------------------------------------------


class DecodeFloor:
    """Decodes the ten PNGs of a sample from memory, and nothing else."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        paths = [path for frame in frames for path in paths_of(frame)[:2]]
        self._files = {path: np.fromfile(path, np.uint8) for path in paths}

    def __call__(self, draw: Draw) -> None:
        """Decode them."""
        for frame in draw.frames:
            for path in paths_of(frame)[:2]:
                cv2.imdecode(self._files[path], cv2.IMREAD_COLOR_RGB)


class CopyFloor:
    """Copies the crops of a sample from decoded frames in memory into a batch that is there.

    Args:
        frames: All that samples are made of.
        size: Of the crop, in pixels.
        as_numbers: Copies a row of spikes as one number, the fastest way known here; else as the
            bytes they are.
    """

    def __init__(self, frames: Sequence[Frame], size: int, *, as_numbers: bool) -> None:
        self._as_numbers = as_numbers
        self._pictures: dict[str, ByteArray] = {}
        self._streams: dict[str, SpikeStream] = {}
        for frame in frames:
            blur_path, sharp_path, spike_path = paths_of(frame)
            self._pictures |= {blur_path: decode(blur_path), sharp_path: decode(sharp_path)}
            packed = np.fromfile(spike_path, np.uint8).reshape(-1, SPIKE_HEIGHT * SPIKE_WIDTH // 8)
            self._streams[spike_path] = SpikeStream(packed, SPIKE_HEIGHT, SPIKE_WIDTH)
        ticks = max(stream.ticks for stream in self._streams.values())
        side = size // SCALE
        self._batch = np.zeros((2, 16, size, size, 3), np.uint8)
        self._spikes = np.zeros((16, ticks, side, side // 8), np.uint8)

    def __call__(self, draw: Draw) -> None:
        """Copy them."""
        rows, columns = draw.window.slices()
        for number, frame in enumerate(draw.frames):
            blur_path, sharp_path, spike_path = paths_of(frame)
            self._batch[0, number] = self._pictures[blur_path][rows, columns]
            self._batch[1, number] = self._pictures[sharp_path][rows, columns]
            stream = self._streams[spike_path]
            if self._as_numbers:
                copy_packed(stream, draw.on_sensor, self._spikes[number, : stream.ticks])
            else:
                self._copy_bytes(stream, draw.on_sensor, self._spikes[number])

    def _copy_bytes(self, stream: SpikeStream, window: Window, out: ByteArray) -> None:
        grid = stream.packed.reshape(stream.ticks, SPIKE_HEIGHT, SPIKE_WIDTH // 8)
        bottom = SPIKE_HEIGHT - window.top - window.height
        first, last = window.left // 8, (window.left + window.width) // 8
        out[: stream.ticks] = grid[:, bottom : bottom + window.height, first:last][:, ::-1]
