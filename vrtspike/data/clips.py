"""The data set: windows of consecutive frames with their spikes, cropped and turned together."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from vrtspike.counted import counted_with_verb
from vrtspike.data import lean
from vrtspike.data.cache import CacheStats, shared_counters
from vrtspike.data.contract import sensor_of
from vrtspike.data.cropping import (
    FramePair,
    Turn,
    centre_window,
    check_fits,
    pair_sizes,
    random_turn,
    random_window,
)
from vrtspike.data.damage import DamagePolicy, first_readable
from vrtspike.data.frames import open_voxels, picture_size
from vrtspike.data.layouts import Clip, Frame, find_clips, is_complete, window_starts
from vrtspike.data.machine_cache import Caches
from vrtspike.data.sample_order import OrderPlan
from vrtspike.data.settings import DataConfig
from vrtspike.data.sources import FrameSources
from vrtspike.data.spike_stream import SpikeStream, Window, voxelise
from vrtspike.data.stored_frames import StoredFrames, used_files
from vrtspike.errors import DataError
from vrtspike.profiling.loading_clock import PartTimer


class ClipMeta(TypedDict):
    """Where a sample comes from: clip name, and frame numbers (frames,) int64."""

    seq: str
    frame_idx: torch.Tensor


class ClipSample(TypedDict):
    """One sample, float32: pictures (T, 3, h, w) in 0..1, spike voxels (T, K, hs, ws)."""

    blur: torch.Tensor
    sharp: torch.Tensor
    spike_vox: torch.Tensor
    meta: ClipMeta


@dataclass(frozen=True, slots=True)
class _Cut:
    """One draw: a rectangle of the picture, the same on the sensor, and the turn of both.

    `sensor` is the height and width of all spikes of the clip.
    """

    picture: Window
    spikes: Window
    turn: Turn
    sensor: tuple[int, int]


class SpikeDeblurDataset(Dataset[ClipSample]):
    """Sliding windows of `clip_len` frames in one split.

    A sample depends on (seed, epoch, index) alone: not on the worker that loads it, nor on where
    a resumed run began.
    """

    def __init__(
        self,
        config: DataConfig,
        split: str,
        *,
        training: bool,
        seed: int = 0,
        stride: int = 1,
    ) -> None:
        """Find the clips and check the size of the first picture of each.

        Args:
            config: `DATA`.
            split: folder name of the split.
            training: random crops and turns; otherwise the middle or the whole frame, unturned.
            seed: of the random crops.
            stride: distance of windows; the last window of a clip is always taken.

        Raises:
            DataError: missing folder, empty split, picture smaller than the crop, sizes of picture
                and spikes that do not fit, a fast store that is out of date; each names the file.
        """
        self.config = config
        self.split = split
        self.training = training
        self.clips = find_clips(config, split)
        self._seed = seed
        self._epoch = shared_counters(1)
        self._sources = FrameSources(config)
        self._is_lean = False
        voxels = config.use_precomputed_voxels
        starts = [
            window_starts(c, config.clip_len, voxels=voxels, stride=stride) for c in self.clips
        ]
        self._windows = [(n, start) for n, found in enumerate(starts) for start in found]
        self._short = [c for c, found in zip(self.clips, starts, strict=True) if not found]
        if not self._windows:
            raise DataError(self._why_empty())
        used = dict.fromkeys(number for number, _ in self._windows)
        self._pairs = {number: self._check_clip(self.clips[number]) for number in used}
        if config.fast_store is not None:
            self.use_store(Path(config.fast_store))
        self.damage = DamagePolicy(
            policy=config.bad_samples,
            split=split,
            length=len(self._windows),
            training=training,
            seed=seed,
        )

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> ClipSample:
        """Load one window; raises DataError naming the file that is broken."""
        with self._clock.sample():
            taken = self.damage.load(index, int(self._epoch[0]), self._load)
            return cast("ClipSample", taken)

    def _load(self, index: int) -> dict[str, Any]:
        number, start = self._windows[index]
        clip = self.clips[number]
        frames = clip.frames[start : start + self.config.clip_len]
        cut = self._cut(self._pairs[number], int(self._epoch[0]), index)
        sharp = [frame.sharp for frame in frames if frame.sharp is not None]
        for frame in frames:
            self.damage.check(frame.spikes)
        numbers = torch.tensor([frame.number for frame in frames], dtype=torch.int64)
        return {
            "blur": self._pictures("blur", [f.blur for f in frames], cut, self._pairs[number]),
            "sharp": self._pictures("sharp", sharp, cut, self._pairs[number]),
            **self._spikes(clip, frames, cut),
            "meta": {"seq": clip.name, "frame_idx": numbers},
        }

    def set_epoch(self, epoch: int) -> None:
        """Choose the random crops and the crop size of an epoch, also in running workers."""
        self._epoch[0] = epoch

    def crop_size(self, epoch: int) -> int | None:
        """Side of the crop in pixels in an epoch; None for whole frames."""
        return self.config.crop_size_at(epoch) if self.training else self.config.val_crop_size

    def summary(self) -> list[str]:
        """What was found, and what was left out, in lines for a log."""
        lines = [f"[SpikeDeblurDataset] Found {len(self)} samples in split '{self.split}'"]
        missing = self._missing()
        if missing:
            lines.append(
                f"[SpikeDeblurDataset] {counted_with_verb(len(missing), 'frame')} incomplete and "
                f"left out, first: {missing[0]}"
            )
        if self._short:
            lines.append(
                f"[SpikeDeblurDataset] {len(self._short)} of "
                f"{counted_with_verb(len(self.clips), 'clip')} shorter "
                f"than CLIP_LEN {self.config.clip_len} and left out, first: {self._short[0].folder}"
            )
        if self._sources.store is not None:
            lines.append(f"[SpikeDeblurDataset] {self._sources.store.line()}")
        return lines

    def order_plan(self) -> OrderPlan:
        """How an epoch goes through the windows."""
        return OrderPlan(
            clips=tuple(number for number, _ in self._windows),
            first_frames=tuple(start for _, start in self._windows),
            clip_len=self.config.clip_len,
            order=self.config.sample_order,
            group=self.config.group_samples,
        )

    def frame_pair(self, clip: int) -> FramePair:
        """Sizes of the pictures and spikes of a clip that samples are made of."""
        return self._pairs[clip]

    def cache_keys(self) -> list[str]:
        """Every array that a cache could be asked for, in an order of the files alone."""
        frames = [frame for clip in self.clips for frame in clip.frames]
        spikes = "voxel" if self.config.use_precomputed_voxels else "spike"
        return [
            f"{kind}:{path}"
            for frame in frames
            for kind, path in (
                ("blur", frame.blur),
                ("sharp", frame.sharp),
                (spikes, frame.voxels if spikes == "voxel" else frame.spikes),
            )
            if path is not None
        ]

    def use_cache(self, share: Caches) -> None:
        """Keep decoded pictures and packed spikes in memory, within `share`."""
        self._sources.caches = share

    def use_store(self, folder: Path) -> None:
        """Read pictures and spikes from a fast store; raises DataError unless it is up to date."""
        store = StoredFrames.open(folder, self.config, self.split, self.clips)
        if self.config.bad_samples == "stop":
            store.check(self._sample_files())
        self._sources.store = store

    def hand_over_bytes(self) -> None:
        """Samples stay bytes, for `lean.on_device` to finish."""
        self._is_lean = True

    def use_clock(self, clock: PartTimer) -> None:
        """Time the parts of every sample, in the process that loads it."""
        self._sources.clock = clock

    def cache_stats(self) -> CacheStats | None:
        """Counts of all loading processes of this rank; None without a cache."""
        caches = self._sources.caches
        return None if caches is None else caches.stats()

    def cache_trouble(self) -> str:
        """Why the cache keeps less than its budget allows; empty where nothing hinders it."""
        caches = self._sources.caches
        return "" if caches is None else caches.trouble()

    def print_cache_stats(self) -> None:
        """Print the cache's counts as the performance guide documents them."""
        stats = self.cache_stats()
        owner = type(self).__name__
        print(f"[{owner}] Cache: off" if stats is None else stats.text(owner), flush=True)

    @property
    def _clock(self) -> PartTimer:
        return self._sources.clock

    def _cut(self, pair: FramePair, epoch: int, index: int) -> _Cut:
        size = self.crop_size(epoch)
        turn = Turn()
        if self.training and size is not None:
            rng = np.random.default_rng([self._seed, epoch, index])
            window = random_window(pair, size, rng)
            if self.config.augment:
                turn = random_turn(rng, square=window.height == window.width)
        else:
            window = centre_window(pair, size)
        return _Cut(window, pair.spike_window(window), turn, pair.spike_size)

    def _pictures(self, kind: str, paths: list[Path], cut: _Cut, pair: FramePair) -> torch.Tensor:
        """Crops as they lie in memory, (T, h, w, 3) uint8, for the device; else (T, 3, h, w)."""
        size, window = (pair.height, pair.width), cut.picture
        crops = np.empty((len(paths), window.height, window.width, 3), np.uint8)
        for path, crop in zip(paths, crops, strict=True):
            self._sources.cut_picture(kind, path, size, window, crop)
        if self._is_lean:
            return torch.from_numpy(crops)
        with self._clock.part("augment"):
            turned = cut.turn.apply(crops.transpose(0, 3, 1, 2))
            return torch.from_numpy(np.ascontiguousarray(turned)).float().div_(255.0)

    def _spikes(self, clip: Clip, frames: tuple[Frame, ...], cut: _Cut) -> dict[str, Any]:
        """Voxels, or what the training device makes them of."""
        if not self._is_lean:
            return {lean.VOXELS: self._voxels(clip, frames, cut)}
        if self.config.use_precomputed_voxels:
            voxels = lean.exact_voxels(self._stored_voxels(clip, frames, cut))
            return {lean.VOXELS: voxels, lean.GUIDE: lean.Guide(cut.turn)}
        packed = lean.PackedSpikes(len(frames), cut.spikes)

        def add(number: int, stream: SpikeStream) -> int:
            with self._clock.part("augment"):
                return packed.add(number, stream)

        for number, frame in enumerate(frames):
            self._sources.use_spikes(clip, frame, partial(add, number))
        with self._clock.part("augment"):
            theta = sensor_of(clip).theta
            guide = lean.spike_guide(
                [(ticks, theta) for ticks in packed.ticks],
                cut.spikes.width,
                cut.turn,
                self.config.k,
                self.config.voxel_mode,
            )
            return {lean.SPIKES: torch.from_numpy(packed.together()), lean.GUIDE: guide}

    def _voxels(self, clip: Clip, frames: tuple[Frame, ...], cut: _Cut) -> torch.Tensor:
        if self.config.use_precomputed_voxels:
            together = self._stored_voxels(clip, frames, cut)
        else:
            made = [self._made_voxels(clip, frame, cut.spikes) for frame in frames]
            with self._clock.part("augment"):
                together = np.stack(made)
        with self._clock.part("augment"):
            stacked = cut.turn.apply(together)
            return torch.from_numpy(np.ascontiguousarray(stacked, np.float32))

    def _stored_voxels(
        self, clip: Clip, frames: tuple[Frame, ...], cut: _Cut
    ) -> NDArray[np.generic]:
        """Voxels from files, which are mapped: only when they are stacked are they read."""
        parts = [self._sources.cut_voxels(clip, each, cut.sensor, cut.spikes) for each in frames]
        with self._clock.part("read"):
            return np.stack(parts)

    def _made_voxels(self, clip: Clip, frame: Frame, window: Window) -> NDArray[np.generic]:
        def make(stream: SpikeStream) -> NDArray[np.generic]:
            with self._clock.part("voxelise"):
                return voxelise(
                    stream,
                    self.config.k,
                    mode=self.config.voxel_mode,
                    theta=sensor_of(clip).theta,
                    window=window,
                )

        return self._sources.use_spikes(clip, frame, make)

    def _check_clip(self, clip: Clip) -> FramePair:
        """Sizes of the clip's pictures and spikes, and that every crop to come fits in."""
        voxels = self.config.use_precomputed_voxels
        frame, sizes_read = first_readable(
            [frame for frame in clip.frames if is_complete(frame, voxels=voxels)],
            lambda each: (picture_size(each.blur), self._spike_size(clip, each)),
            self.config.bad_samples,
        )
        pair = pair_sizes(*sizes_read, frame.blur)
        sizes = {self.crop_size(0), self.config.crop_size if self.training else None}
        sizes |= {s.crop_size for s in self.config.crop_schedule if self.training}
        for size in sizes - {None}:
            check_fits(pair, int(size or 0), frame.blur)
        return pair

    def _spike_size(self, clip: Clip, frame: Frame) -> tuple[int, int]:
        if not self.config.use_precomputed_voxels:
            sensor = sensor_of(clip)
            return sensor.spike_h, sensor.spike_w
        if frame.voxels is None:
            raise DataError(f"{clip.folder}: frame {frame.number} has no precomputed voxels")
        made = clip.sensor and clip.sensor.voxel_mode
        if made and made != self.config.voxel_mode:
            raise DataError(
                f"{clip.folder}: the voxels were made in mode {made}, DATA.VOXEL_MODE is "
                f"{self.config.voxel_mode}: change one of them"
            )
        height, width = open_voxels(frame.voxels).shape[1:]
        return int(height), int(width)

    def _sample_files(self) -> Iterator[Path]:
        """What samples are made of, as a fast store holds it; most files several times."""
        for number, start in self._windows:
            frames = self.clips[number].frames[start : start + self.config.clip_len]
            yield from used_files(frames, voxels=self.config.use_precomputed_voxels)

    def _missing(self) -> list[str]:
        voxels = self.config.use_precomputed_voxels
        return [
            f"{frame.blur} (no {'sharp picture' if frame.sharp is None else 'spikes'})"
            for clip in self.clips
            for frame in clip.frames
            if not is_complete(frame, voxels=voxels)
        ]

    def _why_empty(self) -> str:
        missing = self._missing()
        where = f"{self.config.root}, split {self.split!r}"
        if missing:
            return f"{where}: no complete frames in a row; {len(missing)} lack files: {missing[0]}"
        longest = max(len(clip.frames) for clip in self.clips)
        return (
            f"{where}: no clip has {self.config.clip_len} frames in a row (DATA.CLIP_LEN), "
            f"the longest has {longest}"
        )
