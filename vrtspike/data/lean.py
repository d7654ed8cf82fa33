"""Samples as loading processes hand them over when the training device finishes them.

Pictures stay 8 bits a channel and spikes stay packed, eight to a byte: a sample of 256 pixels takes
a sixth of the finished one, a seventeenth of the performance guide's. What needs floats
(normalising, counting spikes into voxels) happens after the copy, to the same bits as in a loading
process.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import default_collate

from vrtspike.data.cropping import Turn
from vrtspike.data.settings import VoxelMode
from vrtspike.data.spike_stream import ByteArray, SpikeStream, Window, voxel_gains

Batch = Mapping[str, Any]
PICTURES = ("blur", "sharp")
VOXELS = "spike_vox"
SPIKES = "spikes"
"""(B, T, N, h, w / 8) uint8: N ticks of packed spikes, upright; shorter frames end in zeros."""
GUIDE = "spike_guide"
"""What it takes to finish them; stays on the host. `edges` (B, T, K + 1) first ticks of the bins,
`gains` (B, T, K, M + 1) float32 the voxel of every count, `columns` (B,), `turn` (B, 3)."""


def packed_crop(stream: SpikeStream, window: Window) -> ByteArray:
    """A part of the spikes, (ticks, height, ceil(width / 8)), upright, the first column lowest."""
    if not (stream.width % 8 or window.left % 8 or window.width % 8):
        bottom = stream.height - window.top - window.height
        first, last = window.left // 8, (window.left + window.width) // 8
        grid = stream.packed.reshape(stream.ticks, stream.height, stream.width // 8)
        cut = grid[:, bottom : bottom + window.height, first:last]
        return np.ascontiguousarray(cut[:, ::-1])
    whole = stream.unpack()[:, *window.slices()]
    return np.packbits(whole, axis=2, bitorder="little")


def spike_guide(
    frames: Sequence[tuple[int, float]], columns: int, turn: Turn, bins: int, mode: VoxelMode
) -> dict[str, Tensor]:
    """What finishes the spikes of a sample, of whose frames ticks and theta are given.

    Raises:
        DataError: a frame has fewer ticks than bins where that has no meaning.
    """
    made = [voxel_gains(ticks, bins, mode=mode, theta=theta) for ticks, theta in frames]
    most = max(gains.shape[1] for _, gains in made)
    gains = [np.pad(each, ((0, 0), (0, most - each.shape[1]))) for _, each in made]
    return {
        "edges": torch.from_numpy(np.stack([edges for edges, _ in made])),
        "gains": torch.from_numpy(np.stack(gains)),
        "columns": torch.tensor(columns),
        "turn": torch.tensor([turn.flip_rows, turn.flip_columns, turn.quarters]),
    }


def collate(samples: Sequence[Batch]) -> dict[str, Any]:
    """One batch; where frames have different numbers of ticks, zeros follow the fewer."""
    batch: dict[str, Any] = default_collate(
        [{k: v for k, v in each.items() if k not in (SPIKES, GUIDE)} for each in samples]
    )
    if SPIKES not in samples[0]:
        return batch
    spikes = [each[SPIKES] for each in samples]
    ticks = max(each.shape[1] for each in spikes)
    batch[SPIKES] = torch.stack(
        [pad(each, (0, 0, 0, 0, 0, ticks - each.shape[1])) for each in spikes]
    )
    guides = [each[GUIDE] for each in samples]
    counts = max(each["gains"].shape[2] for each in guides)
    batch[GUIDE] = default_collate(
        [{**g, "gains": pad(g["gains"], (0, counts - g["gains"].shape[2]))} for g in guides]
    )
    return batch


def copied_tensors(batch: Batch) -> Iterator[Tensor]:
    """What of a batch goes to the device."""
    for key in (*PICTURES, SPIKES, VOXELS):
        if key in batch:
            yield batch[key]


def on_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Blurry pictures, voxels and sharp pictures on the device, float32, finished there.

    Pinned memory is copied without waiting for it.
    """
    blur, sharp = (_picture(batch[key].to(device, non_blocking=True)) for key in PICTURES)
    if SPIKES not in batch:
        return blur, batch[VOXELS].to(device, non_blocking=True).float(), sharp
    packed = batch[SPIKES].to(device, non_blocking=True)
    guide = batch[GUIDE]
    samples = [
        _voxels(one, {name: values[number] for name, values in guide.items()})
        for number, one in enumerate(packed)
    ]
    return blur, torch.stack(samples), sharp


def _picture(values: Tensor) -> Tensor:
    return values.float().div_(255.0) if values.dtype == torch.uint8 else values


def _voxels(packed: Tensor, guide: Mapping[str, Tensor]) -> Tensor:
    """The voxels of one sample, (T, K, h, w), turned."""
    columns = int(guide["columns"])
    edges, frames = guide["edges"].tolist(), []
    gains = guide["gains"].to(packed.device, non_blocking=True)
    for frame, ends, gain in zip(packed, edges, gains, strict=True):
        counts = torch.stack(_counts(frame, ends))[..., :columns]
        # A table gives the very bits of a loading process, whatever the device makes of log1p.
        bins = torch.arange(len(gain), device=gain.device)[:, None, None]
        frames.append(gain[bins, counts])
    rows, across, quarters = (int(each) for each in guide["turn"])
    turned = torch.stack(frames)
    flipped = [axis for axis, is_flipped in ((-2, rows), (-1, across)) if is_flipped]
    turned = turned.flip(flipped) if flipped else turned
    return turned.rot90(quarters, (-2, -1)).contiguous()


def _counts(frame: Tensor, edges: Sequence[int]) -> list[Tensor]:
    """Spikes of each bin, (h, w) int64; all bits of a byte at once."""
    place = torch.arange(8, device=frame.device, dtype=torch.uint8)
    counts = []
    for first, stop in pairwise(edges):
        bits = frame[first:stop, :, :, None] >> place & 1
        counts.append(bits.sum(0, dtype=torch.int64).flatten(1))
    return counts
