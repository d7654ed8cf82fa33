"""What a data set cuts its samples from: a fast store, the machine's cache, or the files."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from vrtspike.data.contract import sensor_of
from vrtspike.data.frames import decode_rgb, open_voxels, read_picture
from vrtspike.data.layouts import Clip, Frame
from vrtspike.data.machine_cache import Caches, FrameCache
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_stream import ByteArray, SpikeStream, Window, decode, read_dat
from vrtspike.data.stored_frames import StoredFrames
from vrtspike.errors import DataError
from vrtspike.profiling.loading_clock import PartTimer, SilentTimer

Array = NDArray[np.generic]
Made = TypeVar("Made")


class FrameSources:
    """Pictures, spikes and voxels of frames; only what is asked for is copied, and only once.

    Attributes:
        store: Holds every picture and all spikes; then neither is looked up in the cache.
        caches: Where decoded pictures and packed spikes are kept between samples; None keeps none.
        clock: Times the parts.
    """

    def __init__(self, config: DataConfig) -> None:
        self.store: StoredFrames | None = None
        self.caches: Caches | None = None
        self.clock: PartTimer = SilentTimer()
        self._config = config
        self._cache: FrameCache | None = None
        self._cache_slot = -1

    def cut_picture(
        self, kind: str, path: Path, size: tuple[int, int], window: Window, out: ByteArray
    ) -> None:
        """Copies a part of a picture, which must be of `size` (height, width).

        Args:
            kind: blur or sharp.
            path: The picture's file.
            size: Of the whole picture.
            window: The part.
            out: Takes it, (window height, window width, 3).

        Raises:
            DataError: the file is broken, or its size another.
        """
        if self.store is not None:
            stored = self.store.view(path)
            _check_size(stored, size, path)
            with self.clock.part("read"):
                out[...] = stored[*window.slices()]
            return

        def cut(whole: Array) -> bool:
            with self.clock.part("augment"):
                out[...] = whole[*window.slices()]
            return True

        cache, key = self._open_cache(), f"{kind}:{path}"
        if cache is not None and cache.read(key, cut):
            return
        picture = self._picture(path, size)
        if cache is not None:
            cache.put(key, picture)
        cut(picture)

    def use_spikes(self, clip: Clip, frame: Frame, use: Callable[[SpikeStream], Made]) -> Made:
        """What `use` makes of the spikes of a frame; it must copy what it keeps of them.

        Raises:
            DataError: the frame has none, or their file is broken.
        """
        path, sensor = frame.spikes, sensor_of(clip)
        if path is None:
            raise DataError(f"{clip.folder}: frame {frame.number} has no spikes")
        size = sensor.spike_h, sensor.spike_w

        def kept(packed: Array) -> Made:
            raw = np.asarray(packed, np.uint8).reshape(-1)
            return use(decode(raw, *size, source=path))

        if self.store is not None:
            return kept(self.store.view(path))
        cache, key = self._open_cache(), f"spike:{path}"
        if cache is not None and (made := cache.read(key, kept)) is not None:
            return made
        with self.clock.part("read"):
            stream = read_dat(path, *size, byte_padded=sensor.byte_padded)
        if cache is not None:
            cache.put(key, stream.packed)
        return use(stream)

    def cut_voxels(self, clip: Clip, frame: Frame, size: tuple[int, int], window: Window) -> Array:
        """Part of precomputed voxels, (bins, height, width); mapped unless a cache is used.

        Raises:
            DataError: the frame has none, or they are of the wrong kind, or not of `size`.
        """
        path = frame.voxels
        if path is None:
            raise DataError(f"{clip.folder}: frame {frame.number} has no spikes")
        cache, key = self._open_cache(), f"voxel:{path}"
        if cache is not None:
            kept = cache.read(key, lambda whole: whole[:, *window.slices()].copy())
            if kept is not None:
                return kept
        with self.clock.part("read"):
            voxels = open_voxels(path)
            bins = self._config.k
            if voxels.shape[0] != bins:
                raise DataError(f"{path}: {voxels.shape[0]} voxel bins, DATA.K is {bins}")
            if voxels.shape[1:] != size:
                raise DataError(
                    f"{path}: {voxels.shape[1]}x{voxels.shape[2]} voxels, but the clip's first "
                    f"have {size[0]}x{size[1]}"
                )
            voxels = voxels if cache is None else np.array(voxels)
        if cache is not None:
            cache.put(key, voxels)
        return voxels[:, *window.slices()]

    def _picture(self, path: Path, size: tuple[int, int]) -> ByteArray:
        with self.clock.part("read"):
            data = read_picture(path)
        with self.clock.part("decode"):
            picture = decode_rgb(data, path)
        _check_size(picture, size, path)
        return picture

    def _open_cache(self) -> FrameCache | None:
        """This process's cache, made on first use: each loading process fills its own."""
        worker = get_worker_info()
        slot = 0 if worker is None else worker.id + 1
        if self.caches is None or not self.caches.may_open(slot):
            return None
        if self._cache is None or slot != self._cache_slot:
            self._cache, self._cache_slot = self.caches.open(slot), slot
        return self._cache


def _check_size(picture: ByteArray, size: tuple[int, int], path: Path) -> None:
    if picture.shape[:2] != size:
        found = "x".join(str(side) for side in picture.shape[:2])
        raise DataError(
            f"{path}: {found} pixels, but the clip's first picture has {size[0]}x{size[1]}"
        )
