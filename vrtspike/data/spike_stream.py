"""Spike streams: the bit-packed `.dat` file, voxel grids and images made from spikes.

A `.dat` file has no header. Ticks lie back to back, one bit per pixel, least significant bit
first, row after row, the bottom row of the picture first (SpikeCV calls that `flipud=True`). Every
published sensor has a whole number of bytes per tick; where ours does not, each tick is filled up
with zero bits to a whole byte, and foreign files of such sizes are refused because published
readers disagree about them.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.atomic_files import replace_file
from vrtspike.data.file_errors import cannot_read, whole_file
from vrtspike.data.reads import reading
from vrtspike.data.settings import VoxelMode
from vrtspike.errors import DataError

ByteArray = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

DEFAULT_THETA = 2.0
"""Integrate-and-fire threshold of GoPro+Spike, in units of one tick of white light."""

MAX_DAT_BYTES = 1 << 30
"""A larger file is refused: a 20 kHz exposure of 360x640 takes 26 MB, so 1 GiB is no frame."""

MAX_TICKS = 1 << 16
"""Of one frame: 3 s at 20 kHz; more would take minutes to count."""

MAX_LANE_TICKS = 255
"""A byte lane of a sum of `BYTE_TO_PIXELS` overflows after so many ticks."""
BYTE_TO_PIXELS = np.unpackbits(
    np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"
).view(np.uint64)[:, 0]
"""256 entries of eight 0/1 bytes each: adding entries as uint64 counts eight pixels at once."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle in pixels of the upright picture."""

    top: int
    left: int
    height: int
    width: int

    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of this rectangle."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)


def tick_bytes(height: int, width: int) -> int:
    """Bytes of one stored tick: one bit per pixel, filled up to a whole byte."""
    return (height * width + 7) // 8


@dataclass(frozen=True, slots=True)
class SpikeStream:
    """Ticks as stored in a file: `packed` is (ticks, tick_bytes) uint8, the picture upside down."""

    packed: ByteArray
    height: int
    width: int

    @property
    def ticks(self) -> int:
        """Number of ticks."""
        return int(self.packed.shape[0])

    def unpack(self) -> ByteArray:
        """Spikes as (ticks, height, width) of 0 and 1, upright."""
        pixels = self.height * self.width
        bits = np.unpackbits(self.packed, axis=1, count=pixels, bitorder="little")
        return np.ascontiguousarray(bits.reshape(-1, self.height, self.width)[:, ::-1])


def encode(spikes: NDArray[np.generic]) -> SpikeStream:
    """Pack upright spikes (ticks, height, width), anything that is 0 or 1, into a stream."""
    if spikes.ndim != 3 or not np.isin(spikes, (0, 1)).all():
        raise DataError(f"spikes must be (ticks, height, width) of 0 and 1, got {spikes.shape}")
    ticks, height, width = spikes.shape
    flat = spikes[:, ::-1].astype(np.uint8).reshape(ticks, height * width)
    return SpikeStream(np.packbits(flat, axis=1, bitorder="little"), height, width)


def write_dat(path: Path, stream: SpikeStream) -> None:
    """Write a stream as a `.dat` file; the name appears only when the file is whole."""
    replace_file(path, np.ascontiguousarray(stream.packed).tobytes())


def decode(data: bytes | ByteArray, height: int, width: int, *, source: object) -> SpikeStream:
    """Take the bytes of a `.dat` file as ticks of height x width.

    Raises:
        DataError: the size is not a whole number of ticks; the line names `source`.
    """
    raw = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    per_tick = tick_bytes(height, width)
    if raw.size == 0:
        raise DataError(f"{source}: the spike file is empty")
    if raw.size % per_tick:
        raise DataError(
            f"{source}: {raw.size} bytes are {raw.size / per_tick:.2f} ticks of "
            f"{height}x{width} spikes ({per_tick} bytes each): the file is cut short, or "
            "spike_h and spike_w in config.yaml are wrong"
        )
    if raw.size > MAX_TICKS * per_tick:
        raise DataError(
            f"{source}: {raw.size // per_tick} ticks of {height}x{width} spikes are more than one "
            f"frame's can be ({MAX_TICKS}): spike_h and spike_w in config.yaml are wrong"
        )
    return SpikeStream(raw.reshape(-1, per_tick), height, width)


def read_dat(path: Path, height: int, width: int, *, byte_padded: bool = False) -> SpikeStream:
    """Read one `.dat` file.

    Args:
        path: the file.
        height: rows of the spike camera.
        width: columns of the spike camera.
        byte_padded: the file is known to fill every tick up to a whole byte (ours does); without
            that, sizes with height * width not a multiple of 8 are refused.

    Raises:
        DataError: missing, empty, too large or cut short.
    """
    if height * width % 8 and not byte_padded:
        raise DataError(
            f"{path}: {height}x{width} spikes are not a whole number of bytes per tick, and "
            "readers disagree about such files; convert it to a size whose product divides by 8"
        )
    try:
        with reading(path):
            size = os.stat(path).st_size  # noqa: PTH116 - one syscall, no Path object per frame
            if size > MAX_DAT_BYTES:
                raise DataError(f"{path}: {size} bytes is more than one frame's spikes can be")
            raw = whole_file(path)
    except OSError as error:
        raise cannot_read(path, "spike file", error) from error
    return decode(raw, height, width, source=path)


def bin_edges(ticks: int, bins: int) -> NDArray[np.int64]:
    """First tick of every bin and the end: tick t belongs to bin floor(t * bins / ticks)."""
    return -(-np.arange(bins + 1, dtype=np.int64) * ticks // bins)


def bin_counts(
    stream: SpikeStream, edges: NDArray[np.int64], window: Window | None = None
) -> NDArray[np.unsignedinteger]:
    """Spikes of every pixel in every bin, (bins, height, width), upright.

    Args:
        stream: the packed ticks.
        edges: (bins + 1) tick numbers, not decreasing.
        window: the part of the picture to count in; None for all of it.
    """
    window = window or Window(0, 0, stream.height, stream.width)
    if stream.width % 8:  # rows do not begin on a byte: nothing can be cut before counting
        pixels = stream.height * stream.width
        flat = _count(stream.packed, edges)[:, :pixels]
        picture = flat.reshape(-1, stream.height, stream.width)[:, ::-1]
        return np.ascontiguousarray(picture[:, *window.slices()])
    first, last = window.left // 8, -(-(window.left + window.width) // 8)
    bottom = stream.height - window.top - window.height
    grid = stream.packed.reshape(stream.ticks, stream.height, stream.width // 8)
    cut = grid[:, bottom : bottom + window.height, first:last].reshape(stream.ticks, -1)
    picture = _count(cut, edges).reshape(-1, window.height, (last - first) * 8)[:, ::-1]
    offset = window.left - first * 8
    return np.ascontiguousarray(picture[:, :, offset : offset + window.width])


def _count(packed: ByteArray, edges: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Spikes per pixel and bin of (ticks, bytes): (bins, bytes * 8), in stored order."""
    wide = int(np.diff(edges).max(initial=0)) > MAX_LANE_TICKS
    out = np.zeros((len(edges) - 1, packed.shape[1] * 8), np.uint32 if wide else np.uint8)
    for row, start, stop in zip(out, edges[:-1], edges[1:], strict=True):
        for first in range(start, stop, MAX_LANE_TICKS):
            row += _count_lanes(packed[first : min(stop, first + MAX_LANE_TICKS)])
    return out


def _count_lanes(packed: ByteArray) -> ByteArray:
    """Spikes per pixel of at most 255 ticks, eight pixels an addition."""
    total = np.zeros(packed.shape[1], np.uint64)
    pixels = np.empty_like(total)
    for tick in packed:
        np.take(BYTE_TO_PIXELS, tick, out=pixels, mode="clip")  # "raise" would buffer `out`
        total += pixels
    return total.view(np.uint8)


def voxelise(
    stream: SpikeStream,
    bins: int,
    *,
    mode: VoxelMode = "flat",
    theta: float = DEFAULT_THETA,
    window: Window | None = None,
) -> FloatArray:
    """Turn a stream into a voxel grid (bins, height, width) float32.

    Bin of tick t: floor(t * bins / ticks). `flat` divides each bin by its number of ticks and
    multiplies by theta, so that a constant light gives its gray value in every bin. `documented`
    gives log1p of the counts, as the performance guide does: bins of unequal width (88 ticks in 32
    bins are 3, 3, 3, 2, ...) then show a comb that is not in the scene.

    Raises:
        DataError: `flat` with fewer ticks than bins, where some bins would hold nothing.
    """
    edges = _filled_edges(stream.ticks, bins, mode)
    counts: FloatArray = bin_counts(stream, edges, window).astype(np.float32)
    if mode == "documented":
        np.log1p(counts, out=counts)
        return counts
    counts *= (theta / np.diff(edges)).astype(np.float32)[:, None, None]
    return counts


def voxel_gains(
    ticks: int, bins: int, *, mode: VoxelMode = "flat", theta: float = DEFAULT_THETA
) -> tuple[NDArray[np.int64], FloatArray]:
    """What `voxelise` makes of each count, for who counts the spikes elsewhere.

    Returns:
        First tick of every bin and the end, (bins + 1); the voxel of every bin for 0, 1, 2, ...
        spikes up to the longest bin, (bins, counts) float32.

    Raises:
        DataError: as `voxelise`.
    """
    edges = _filled_edges(ticks, bins, mode)
    counts = np.arange(int(np.diff(edges).max()) + 1, dtype=np.float32)
    if mode == "documented":
        return edges, np.ascontiguousarray(np.broadcast_to(np.log1p(counts), (bins, len(counts))))
    return edges, (theta / np.diff(edges)).astype(np.float32)[:, None] * counts


def _filled_edges(ticks: int, bins: int, mode: VoxelMode) -> NDArray[np.int64]:
    if mode == "flat" and ticks < bins:
        raise DataError(f"{ticks} spike ticks cannot fill DATA.K={bins} bins: lower DATA.K")
    return bin_edges(ticks, bins)


def tfp(
    stream: SpikeStream,
    *,
    theta: float = DEFAULT_THETA,
    first: int = 0,
    stop: int | None = None,
) -> FloatArray:
    """Texture from playback: theta times the mean of ticks first..stop, (height, width) float32.

    In the stream's light domain, 1.0 is white. The sharp GoPro frame lies at tick 8 * (N // 2);
    without the factor theta the picture is too dark by it.
    """
    stop = stream.ticks if stop is None else stop
    if not 0 <= first < stop <= stream.ticks:
        raise DataError(f"ticks {first}..{stop} are not inside a stream of {stream.ticks} ticks")
    counts = bin_counts(stream, np.array([first, stop], np.int64))[0]
    image: FloatArray = counts.astype(np.float32) * np.float32(theta / (stop - first))
    return image
