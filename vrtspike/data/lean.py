"""Samples as loading processes hand them over when the training device finishes them.

Pictures stay as they lie in memory, 8 bits a channel, and spikes stay packed, eight to a byte: a
sample of 256 pixels takes a seventeenth of the performance guide's. What needs floats (normalising,
counting spikes into voxels) and what needs whole samples (turning them) happens after the copy, to
the same bits as in a loading process.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from vrtspike.data.cropping import Turn
from vrtspike.data.damage import DAMAGE, damage_of
from vrtspike.data.nameless import stacked
from vrtspike.data.settings import VoxelMode
from vrtspike.data.spike_stream import (
    BYTE_TO_PIXELS,
    MAX_LANE_TICKS,
    ByteArray,
    SpikeStream,
    Window,
    voxel_gains,
)

Batch = Mapping[str, Any]
PICTURES = ("blur", "sharp")
"""(B, T, h, w, 3) uint8, not turned; finished ones are (B, T, 3, h, w) float32."""
VOXELS = "spike_vox"
SPIKES = "spikes"
"""(B, T, N, h, w / 8) uint8: N ticks of packed spikes, upright; shorter frames end in zeros."""
GUIDE = "spike_guide"
"""What it takes to finish each sample, B guides; stays on the host. Finished batches have none."""

_WIDE = tuple(np.dtype(name) for name in ("complex128", "uint64", "uint32", "uint16"))
_EXACT = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.uint8))
"""Types of stored voxels that become float32 without a change, wherever that happens."""


@dataclass(frozen=True, slots=True)
class VoxelGuide:
    """How packed spikes become voxels.

    `edges` (T, K + 1) are the first ticks of each frame's bins, `gains` (T, K, M + 1) float32 the
    voxel of every count; where these are multiples of the voxel of one spike, `is_linear` is set.
    `columns` are the pixels of a row, whose last byte may hold more.
    """

    columns: int
    is_linear: bool
    edges: NDArray[np.int64]
    gains: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Guide:
    """How a sample is finished. Arrays, not tensors: those would cost a descriptor each."""

    turn: Turn
    voxels: VoxelGuide | None = None


class PackedSpikes:
    """The packed crops of a sample's frames in one array, which grows with the ticks of a frame.

    Args:
        frames: How many there will be.
        window: The part of each.
    """

    def __init__(self, frames: int, window: Window) -> None:
        self.ticks = [0] * frames
        self._window = window
        self._made = np.empty((frames, 0, window.height, -(-window.width // 8)), np.uint8)

    def add(self, number: int, stream: SpikeStream) -> int:
        """Copies the crop of frame `number`, again if need be; returns its ticks."""
        ticks = stream.ticks
        if self._made.shape[1] < ticks:
            shape = list(self._made.shape)
            shape[1] = ticks
            grown = np.empty(shape, np.uint8) if not any(self.ticks) else np.zeros(shape, np.uint8)
            grown[:, : self._made.shape[1]] = self._made
            self._made = grown
        copy_packed(stream, self._window, self._made[number, :ticks])
        self._made[number, ticks:] = 0
        self.ticks[number] = ticks
        return ticks

    def together(self) -> ByteArray:
        """All of them, (frames, most ticks, height, bytes of a row)."""
        return np.ascontiguousarray(self._made[:, : max(self.ticks)])


def packed_crop(stream: SpikeStream, window: Window) -> ByteArray:
    """A part of the spikes, (ticks, height, ceil(width / 8)), upright, the first column lowest."""
    out = np.empty((stream.ticks, window.height, -(-window.width // 8)), np.uint8)
    copy_packed(stream, window, out)
    return out


def copy_packed(stream: SpikeStream, window: Window, out: ByteArray) -> None:
    """As `packed_crop`, into an array."""
    if stream.width % 8 or window.left % 8 or window.width % 8:
        whole = stream.unpack()[:, *window.slices()]
        out[...] = np.packbits(whole, axis=2, bitorder="little")
        return
    bottom = stream.height - window.top - window.height
    first, last = window.left // 8, (window.left + window.width) // 8
    grid = stream.packed.reshape(stream.ticks, stream.height, stream.width // 8)
    cut = grid[:, bottom : bottom + window.height, first:last][:, ::-1]
    # Rows are a few bytes long: copied as one number each, they take a fifth of the time.
    wide = next((each for each in _WIDE if (last - first) % each.itemsize == 0), None)
    if wide is None:
        out[...] = cut
    else:
        out.view(wide)[...] = cut.view(wide)


def exact_voxels(voxels: NDArray[np.generic]) -> Tensor:
    """Stored voxels in the smallest type that becomes their float32 on any device."""
    kept = voxels if voxels.dtype in _EXACT else voxels.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(kept))


def spike_guide(
    frames: Sequence[tuple[int, float]], columns: int, turn: Turn, bins: int, mode: VoxelMode
) -> Guide:
    """What finishes the spikes of a sample, of whose frames ticks and theta are given.

    Raises:
        DataError: a frame has fewer ticks than bins where that has no meaning.
    """
    return Guide(turn, _voxel_guide(tuple(frames), columns, bins, mode))


@lru_cache(maxsize=256)
def _voxel_guide(
    frames: tuple[tuple[int, float], ...], columns: int, bins: int, mode: VoxelMode
) -> VoxelGuide:
    """Nearly all samples of a data set have the same one."""
    made = [voxel_gains(ticks, bins, mode=mode, theta=theta) for ticks, theta in frames]
    most = max(gains.shape[1] for _, gains in made)
    gains = [np.pad(each, ((0, 0), (0, most - each.shape[1]))) for _, each in made]
    edges = np.stack([edges for edges, _ in made])
    return VoxelGuide(columns, mode == "flat", edges, np.stack(gains))


def collate(samples: Sequence[Batch]) -> dict[str, Any]:
    """One batch; where frames have different numbers of ticks, zeros follow the fewer.

    Of damaged samples that were left out, `DAMAGE` tells; nothing else is there where all were.
    """
    whole, damage = damage_of(samples)
    keys = whole[0] if whole else ()
    batch = {key: _together(key, [each[key] for each in whole]) for key in keys}
    return {**batch, DAMAGE: damage} if damage else batch


def _together(key: str, values: list[Any]) -> Any:
    if key == GUIDE:
        return values
    if isinstance(values[0], Mapping):
        return {name: _together(name, [each[name] for each in values]) for name in values[0]}
    if not isinstance(values[0], Tensor):
        return values
    if key == SPIKES:
        most = max(len(each[0]) for each in values)
        values = [pad(each, (0, 0, 0, 0, 0, most - each.shape[1])) for each in values]
    common = reduce(torch.promote_types, [each.dtype for each in values])
    return stacked([each.to(common) for each in values])


def copied_tensors(batch: Batch) -> Iterator[Tensor]:
    """What of a batch goes to the device."""
    for key in (*PICTURES, SPIKES, VOXELS):
        if key in batch:
            yield batch[key]


def on_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Blurry pictures, voxels and sharp pictures on the device, float32, finished there.

    Pinned memory is copied without waiting for it.
    """
    spikes = SPIKES if SPIKES in batch else VOXELS
    blur, sharp, seen = (batch[key].to(device, non_blocking=True) for key in (*PICTURES, spikes))
    if GUIDE not in batch:
        return blur, seen.float(), sharp
    guides: Sequence[Guide] = batch[GUIDE]
    turns = [guide.turn for guide in guides]
    if spikes == SPIKES:
        seen = [
            _voxels(one, guide.voxels)
            for one, guide in zip(seen, guides, strict=True)
            if guide.voxels is not None
        ]
    return _pictures(blur, turns), _turned(seen, turns), _pictures(sharp, turns)


def _pictures(values: Tensor, turns: Sequence[Turn]) -> Tensor:
    made = _turned(values.permute(0, 1, 4, 2, 3), turns)
    # Divided by a tensor: a GPU multiplies by the inverse of a number, which are other bits.
    return made.div_(torch.full((), 255.0, device=made.device))


def _turned(samples: Sequence[Tensor] | Tensor, turns: Sequence[Turn]) -> Tensor:
    """Samples as float32, each turned in its last two axes, and lying in that order."""
    turned = [_turn(one, turn) for one, turn in zip(samples, turns, strict=True)]
    made = torch.empty((len(turned), *turned[0].shape), device=turned[0].device)
    for into, one in zip(made, turned, strict=True):
        into.copy_(one)
    return made


def _turn(values: Tensor, turn: Turn) -> Tensor:
    flipped = [axis for axis, is_so in ((-2, turn.flip_rows), (-1, turn.flip_columns)) if is_so]
    values = values.flip(flipped) if flipped else values
    return values.rot90(turn.quarters, (-2, -1)) if turn.quarters else values


@dataclass(frozen=True, slots=True)
class _FrameBins:
    """One frame's part of a guide: `owner` is the bin of each tick, on the device.

    `gains` (K, M + 1) lie there, too. `most_ticks` is how many the largest bin has.
    """

    owner: Tensor
    most_ticks: int
    gains: Tensor


def _voxels(packed: Tensor, guide: VoxelGuide) -> Tensor:
    """The voxels of one sample, (T, K, h, w)."""
    device, bins = packed.device, guide.gains.shape[1]
    number = torch.arange(bins, device=device)[:, None, None]
    made = []
    for frame, of_frame in zip(packed, _guide_on(device, guide), strict=True):
        counts = _counts(frame, of_frame)[..., : guide.columns]
        if guide.is_linear:
            made.append(counts.float().mul_(of_frame.gains[:, 1, None, None]))
        else:  # a table gives the very bits of a loading process, whatever a device makes of log1p
            made.append(of_frame.gains[number, counts.int()])
    return torch.stack(made)


def _counts(frame: Tensor, bins: _FrameBins) -> Tensor:
    """Spikes of each bin, (bins, h, 8 w): a byte becomes eight in one number, which are added."""
    device, number = frame.device, len(bins.gains)
    lanes = _pixels_of_bytes(device)[frame[: len(bins.owner)].int()]
    if bins.most_ticks <= MAX_LANE_TICKS:
        sums = torch.zeros((number, *lanes.shape[1:]), dtype=torch.int64, device=device)
        return sums.index_add_(0, bins.owner, lanes).view(torch.uint8)
    pixels = lanes.view(torch.uint8).int()
    sums = torch.zeros((number, *pixels.shape[1:]), dtype=torch.int32, device=device)
    return sums.index_add_(0, bins.owner, pixels)


def _guide_on(device: torch.device, guide: VoxelGuide) -> tuple[_FrameBins, ...]:
    """By what it says: loading processes hand over a new one with each sample."""
    return _bins_on(device, guide.edges.tobytes(), guide.gains.tobytes(), guide.gains.shape)


@lru_cache(maxsize=256)
def _bins_on(
    device: torch.device, edges: bytes, gains: bytes, shape: tuple[int, int, int]
) -> tuple[_FrameBins, ...]:
    """Copied once: a copy for each frame would make the host wait for the device each time."""
    frames, bins, _ = shape
    widths = np.diff(np.frombuffer(edges, np.int64).reshape(frames, bins + 1))
    owners = [np.repeat(np.arange(bins), of_frame) for of_frame in widths]
    owner = _copied(np.concatenate(owners), device).split([len(each) for each in owners])
    gain = _copied(np.frombuffer(gains, np.float32).reshape(shape).copy(), device)
    most = widths.max(axis=1).tolist()
    return tuple(_FrameBins(*each) for each in zip(owner, most, gain, strict=True))


def _copied(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """Without waiting for what the device still has to do: only pinned memory is so copied."""
    held = torch.from_numpy(values)
    if device.type == "cuda":
        held = held.pin_memory()
    return held.to(device, non_blocking=True)


@lru_cache(maxsize=16)
def _pixels_of_bytes(device: torch.device) -> Tensor:
    return _copied(BYTE_TO_PIXELS.view(np.int64), device)
