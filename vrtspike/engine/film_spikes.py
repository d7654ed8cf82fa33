"""The spikes of a film: recorded beside it, or simulated from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from vrtspike.data.cropping import pair_sizes
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_camera import SpikeCamera
from vrtspike.data.spike_config import GOPRO_DEFAULT, SpikeConfig, find_spike_config
from vrtspike.data.spike_stream import ByteArray, FloatArray, encode, read_dat, voxelise
from vrtspike.errors import DataError

_SIMULATED_SCALE = 2  # as in GoPro+Spike: half the picture's size
_SIMULATED_TICKS = 56  # the shortest exposure of GoPro+Spike


class FilmSpikes(Protocol):
    """Voxels of one frame after another; the picture is `scale` times as large."""

    scale: int

    def voxels(self, index: int, padded: ByteArray) -> FloatArray:
        """Voxels (K, h, w) of frame `index`, fitting the padded picture; called in order."""
        ...


class RecordedSpikes:
    """`.dat` files, one for each frame: of the same names, or as many in the same order."""

    def __init__(
        self, folder: Path, names: Sequence[str], size: tuple[int, int], data: DataConfig
    ) -> None:
        """Match files to frames.

        Raises:
            DataError: no files, not one for each frame, or a size that does not fit the picture.
        """
        self._paths = _match(folder, names)
        self._data = data
        self._sensor = _sensor(folder, size)
        sensor_size = (self._sensor.spike_h, self._sensor.spike_w)
        self.scale = pair_sizes(size, sensor_size, folder).scale

    def voxels(self, index: int, padded: ByteArray) -> FloatArray:
        """Voxels of the frame's file, its border repeated where the picture was padded."""
        sensor = self._sensor
        stream = read_dat(
            self._paths[index], sensor.spike_h, sensor.spike_w, byte_padded=sensor.byte_padded
        )
        data = self._data
        grid = voxelise(stream, data.k, mode=data.voxel_mode, theta=sensor.theta)
        below = padded.shape[0] // self.scale - sensor.spike_h
        right = padded.shape[1] // self.scale - sensor.spike_w
        return np.pad(grid, ((0, 0), (0, below), (0, right)), mode="edge")


class SimulatedSpikes:
    """A simulated camera that looks at the film itself, each frame standing still.

    It tells the network nothing that the frames do not show; only real spikes know the motion
    inside an exposure.
    """

    scale = _SIMULATED_SCALE

    def __init__(self, data: DataConfig) -> None:
        self._data = data
        self._ticks = max(_SIMULATED_TICKS, data.k)
        self._camera: SpikeCamera | None = None

    def voxels(self, index: int, padded: ByteArray) -> FloatArray:
        """Expose the camera to the frame; its charge is kept for the next one."""
        height, width = padded.shape[0] // self.scale, padded.shape[1] // self.scale
        gray = cv2.cvtColor(padded, cv2.COLOR_RGB2GRAY)
        light = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA) / 255.0
        if self._camera is None:
            self._camera = SpikeCamera(height, width)
        spikes = self._camera.expose(np.broadcast_to(light, (self._ticks, height, width)))
        stream = encode(spikes)
        data = self._data
        return voxelise(stream, data.k, mode=data.voxel_mode, theta=self._camera.theta)


def _match(folder: Path, names: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of spike files")
    found = sorted(folder.glob("*.dat"))
    if not found:
        raise DataError(f"{folder}: holds no .dat files")
    by_name = {path.stem: path for path in found}
    if all(name in by_name for name in names):
        return [by_name[name] for name in names]
    if len(found) != len(names):
        raise DataError(
            f"{folder}: {len(found)} spike files for {len(names)} frames, and their names differ"
        )
    return found


def _sensor(folder: Path, size: tuple[int, int]) -> SpikeConfig:
    resolved = folder.resolve()
    found = find_spike_config(resolved, Path(resolved.anchor))
    if found is not None:
        return found
    default = GOPRO_DEFAULT
    if size == (default.spike_h * 2, default.spike_w * 2):
        return default
    raise DataError(
        f"{folder}: no config.yaml with spike_h and spike_w in it or above it, so the size of the "
        "spike camera is not known"
    )
