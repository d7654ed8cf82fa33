"""How large the data is, on disk in frames and in memory in bytes, before anything is loaded.

Sizes are those of the samples as the loader hands them over: float32 pictures and spike voxels.
Needs no PyTorch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vrtspike.data.cache_memory import whole_pages
from vrtspike.data.cropping import MODEL_GRID
from vrtspike.data.damage import first_readable
from vrtspike.data.frames import picture_size
from vrtspike.data.layouts import Clip, find_clips, window_starts
from vrtspike.data.sample_order import OrderPlan
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_config import GOPRO_DEFAULT
from vrtspike.errors import DataError

FLOAT_BYTES = 4
GOPRO_TRAIN_FRAMES, GOPRO_TEST_FRAMES = 2103, 1111
_GOPRO_TRAIN_CLIPS, _GOPRO_TEST_CLIPS = 22, 11
_GOPRO_HEIGHT, _GOPRO_WIDTH = 720, 1280
_GOPRO_SPIKE_BYTES = 2_534_400  # 88 ticks, the most frequent kind


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """What a data set holds.

    `is_assumed` says that nothing was found at `root`, so the published size of GoPro+Spike stands
    in. `train_samples` and `val_samples` count windows of `clip_len` frames. `spike_bytes` is what
    the cache keeps of one frame's spikes: the packed bits, or its precomputed voxels.
    `clip_windows` are the training samples of each clip.
    """

    root: str
    is_assumed: bool
    train_frames: int
    val_frames: int
    train_samples: int
    val_samples: int
    height: int
    width: int
    spike_height: int
    spike_width: int
    spike_bytes: int
    clip_windows: tuple[int, ...] = ()

    @property
    def picture_bytes(self) -> int:
        """One decoded picture, 8 bits a channel."""
        return self.height * self.width * 3

    @property
    def cached_frame_bytes(self) -> int:
        """What the cache keeps of one frame: two pictures and the spikes."""
        return 2 * whole_pages(self.picture_bytes) + whole_pages(self.spike_bytes)


def documented_frame_bytes(height: int, width: int, bins: int) -> int:
    """One frame as the performance guide counts it.

    Two float32 pictures and float32 voxels at the size of the picture: 133.59 MiB for 720x1280
    and 32 bins. Our loader never holds a frame in this form.
    """
    return height * width * (2 * 3 + bins) * FLOAT_BYTES


def measure_data(config: DataConfig) -> DataSize:
    """The size of the data set at `DATA.ROOT`, by listing it; nothing is decoded.

    Raises:
        DataError: the root is there, but is no data set; the line says what is missing.
    """
    if not Path(config.root).exists():
        return _published_size(config)
    train = find_clips(config, config.train_split)
    val = find_clips(config, config.val_split)
    clip = next((clip for clip in train if clip.frames), None)
    if clip is None:
        raise DataError(f"{config.root}: the clips of split {config.train_split!r} hold no frames")
    _, (height, width) = first_readable(
        clip.frames, lambda frame: picture_size(frame.blur), config.bad_samples
    )
    sensor = clip.sensor or GOPRO_DEFAULT
    return DataSize(
        root=config.root,
        is_assumed=False,
        train_frames=sum(len(clip.frames) for clip in train),
        val_frames=sum(len(clip.frames) for clip in val),
        train_samples=_windows(train, config, stride=1),
        val_samples=_windows(val, config, stride=config.clip_len),
        height=height,
        width=width,
        spike_height=sensor.spike_h,
        spike_width=sensor.spike_w,
        spike_bytes=_spike_bytes(train, config),
        clip_windows=_clip_windows(train, config, stride=1),
    )


def order_plan(config: DataConfig, size: DataSize) -> OrderPlan:
    """The order of the training samples; windows of a clip begin at each of its frames."""
    return OrderPlan(
        clips=tuple(clip for clip, count in enumerate(size.clip_windows) for _ in range(count)),
        first_frames=tuple(first for count in size.clip_windows for first in range(count)),
        clip_len=config.clip_len,
        order=config.sample_order,
        group=config.group_samples,
    )


def _windows(clips: Sequence[Clip], config: DataConfig, stride: int) -> int:
    return sum(_clip_windows(clips, config, stride))


def _clip_windows(clips: Sequence[Clip], config: DataConfig, stride: int) -> tuple[int, ...]:
    voxels = config.use_precomputed_voxels
    return tuple(
        len(window_starts(clip, config.clip_len, voxels=voxels, stride=stride)) for clip in clips
    )


def _spike_bytes(clips: Sequence[Clip], config: DataConfig) -> int:
    """Mean file size over the first frame of every clip: all frames of a clip are alike."""
    sizes = []
    for clip in clips:
        if not clip.frames:
            continue
        frame = clip.frames[0]
        path = frame.voxels if config.use_precomputed_voxels else frame.spikes
        if path is not None:
            try:
                sizes.append(path.stat().st_size)
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return math.ceil(sum(sizes) / len(sizes)) if sizes else 0


def _published_size(config: DataConfig) -> DataSize:
    lost = config.clip_len - 1
    bins = config.k if config.use_precomputed_voxels else 0
    voxels = bins * GOPRO_DEFAULT.spike_h * GOPRO_DEFAULT.spike_w * FLOAT_BYTES
    return DataSize(
        root=config.root,
        is_assumed=True,
        train_frames=GOPRO_TRAIN_FRAMES,
        val_frames=GOPRO_TEST_FRAMES,
        train_samples=GOPRO_TRAIN_FRAMES - _GOPRO_TRAIN_CLIPS * lost,
        val_samples=math.ceil((GOPRO_TEST_FRAMES - _GOPRO_TEST_CLIPS * lost) / config.clip_len),
        height=_GOPRO_HEIGHT,
        width=_GOPRO_WIDTH,
        spike_height=GOPRO_DEFAULT.spike_h,
        spike_width=GOPRO_DEFAULT.spike_w,
        spike_bytes=voxels or _GOPRO_SPIKE_BYTES,
        clip_windows=_evenly(GOPRO_TRAIN_FRAMES - _GOPRO_TRAIN_CLIPS * lost, _GOPRO_TRAIN_CLIPS),
    )


def _evenly(total: int, parts: int) -> tuple[int, ...]:
    """Only the sum is published."""
    return tuple(total // parts + (number < total % parts) for number in range(parts))


@dataclass(frozen=True, kw_only=True)
class CropShape:
    """One sample: pictures of `height` x `width`, spikes in proportion.

    `voxel_bytes` is what one precomputed voxel takes in its file.
    """

    frames: int
    bins: int
    height: int
    width: int
    spike_height: int
    spike_width: int
    is_lean: bool = False
    ticks: int | None = None
    voxel_bytes: int = FLOAT_BYTES

    @property
    def tensor_bytes(self) -> tuple[int, int, int]:
        """Blurry and sharp pictures and voxels of one sample."""
        picture = self.frames * 3 * self.height * self.width * FLOAT_BYTES
        voxels = self.frames * self.bins * self.spike_height * self.spike_width * FLOAT_BYTES
        return picture, picture, voxels

    @property
    def handed_bytes(self) -> tuple[int, int, int]:
        """The same as a loading process hands them over."""
        if not self.is_lean:
            return self.tensor_bytes
        picture = self.frames * 3 * self.height * self.width
        if self.ticks is None:  # voxels from a file, in its type
            return picture, picture, self.tensor_bytes[2] // FLOAT_BYTES * self.voxel_bytes
        row_bytes = -(-self.spike_width // 8)
        return picture, picture, self.frames * self.ticks * self.spike_height * row_bytes

    @property
    def sample_bytes(self) -> int:
        """One finished sample; the frame numbers beside it are 8 bytes each."""
        return sum(self.tensor_bytes) + 8 * self.frames

    @property
    def handed_sample_bytes(self) -> int:
        """One sample as it is handed over, without what guides its finishing (some KiB)."""
        return sum(self.handed_bytes) + 8 * self.frames

    def pinned_batch_bytes(self, batch: int) -> int:
        """A batch in pinned memory, where PyTorch rounds every tensor up to a power of two."""
        return sum(1 << (batch * size - 1).bit_length() for size in self.handed_bytes)


def crop_shape(
    config: DataConfig, size: DataSize, crop: int | None, *, is_lean: bool = False
) -> CropShape:
    """Shape of a sample with a square crop, or of the whole frame cut to the model's grid."""
    scale = max(1, size.height // max(1, size.spike_height))
    if crop is None:
        grid = math.lcm(MODEL_GRID, scale)
        height, width = size.height // grid * grid, size.width // grid * grid
    else:
        height = width = crop
    return CropShape(
        frames=config.clip_len,
        bins=config.k,
        height=height,
        width=width,
        spike_height=height // scale,
        spike_width=width // scale,
        is_lean=is_lean,
        ticks=None if config.use_precomputed_voxels else _ticks(size),
        voxel_bytes=_voxel_bytes(config, size),
    )


def _voxel_bytes(config: DataConfig, size: DataSize) -> int:
    """1, 2 or 4: types that become float32 on the device; others do so before."""
    voxels = config.k * size.spike_height * size.spike_width
    given = size.spike_bytes // max(1, voxels)
    return given if config.use_precomputed_voxels and given in (1, 2) else FLOAT_BYTES


def _ticks(size: DataSize) -> int:
    """Of the mean frame: a tick is a bit for each pixel."""
    return 8 * size.spike_bytes // max(1, size.spike_height * size.spike_width)


def largest_crop(config: DataConfig) -> int:
    """The largest training crop of the whole schedule, in pixels: it decides what must fit."""
    return max([config.crop_size, *(stage.crop_size for stage in config.crop_schedule)])


def loading_scratch_bytes(
    shape: CropShape, size: DataSize, batch: int, *, decodes: bool = True
) -> int:
    """What a loading process holds while it makes a batch, at its peak.

    The samples of the batch and, where pictures are decoded rather than read from a fast store,
    one of them with its file, which is no larger.
    """
    return batch * shape.handed_sample_bytes + decodes * 2 * size.picture_bytes


def fast_store_bytes(size: DataSize) -> int:
    """What a fast store takes on its disk: every frame's pictures and spikes, in whole pages.

    So much of the page cache its reading fills at most, once for the machine, whatever the number
    of processes; the system takes it back when memory is needed elsewhere.
    """
    return (size.train_frames + size.val_frames) * size.cached_frame_bytes
