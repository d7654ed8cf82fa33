"""Restoring a film of any length and size in bounded memory: overlapping clips of tiles."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vrtspike.data.spike_stream import ByteArray, FloatArray
from vrtspike.engine.clip_model import Clips
from vrtspike.engine.film_spikes import FilmSpikes
from vrtspike.engine.tiling import Span, spans, taper, tiles
from vrtspike.errors import ConfigError

_GRID = 8


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How a film is cut: tiles of `tile` pixels that share `overlap`, and clips likewise."""

    tile: int
    overlap: int
    frames: int
    shared_frames: int


@dataclass
class _Frame:
    """A frame on its way: its padded picture and voxels, and the weighted sum of its results."""

    picture: ByteArray
    voxels: FloatArray | None
    total: Tensor | None = None
    weight: float = 0.0


class FilmRestorer:
    """Runs a clip model over a film.

    Args:
        model: takes `Clips` of at least `least` pixels, a multiple of 8, on any device it moves
            them to, and returns (1, T, 3, H, W).
        least: smallest height and width that the model takes.
        cutting: sizes of clips and tiles.
        spikes: where voxels come from; None for a model without spikes.

    Raises:
        ConfigError: the overlap leaves no way forward.
    """

    def __init__(
        self,
        model: Callable[[Clips], Tensor],
        least: tuple[int, int],
        cutting: Cutting,
        spikes: FilmSpikes | None,
    ) -> None:
        self._model = model
        self._least = least
        self._cutting = cutting
        self._spikes = spikes
        self._scale = 1 if spikes is None else spikes.scale
        self._grid = math.lcm(_GRID, self._scale)
        self._tile = _up(max(cutting.tile, *least), self._grid)
        if self._tile - cutting.overlap < self._grid:
            raise ConfigError(
                f"an overlap of {cutting.overlap} leaves less than {self._grid} pixels of a tile "
                f"of {self._tile}: lower --overlap or raise --tile"
            )

    def restore(self, pictures: Iterable[ByteArray], count: int) -> Iterator[ByteArray]:
        """Restored frames, RGB uint8, one by one as soon as no later clip can change them.

        Args:
            pictures: the film's `count` frames.
            count: how many there are.
        """
        cutting = self._cutting
        plan = spans(count, cutting.frames, cutting.shared_frames)
        source = iter(pictures)
        held: dict[int, _Frame] = {}
        taken, size = 0, (0, 0)
        for place, span in enumerate(plan):
            for index in range(taken, span.stop):
                picture = next(source)
                size = picture.shape[0], picture.shape[1]
                held[index] = self._take(index, picture)
            taken = span.stop
            self._restore_clip([held[n] for n in range(span.start, span.stop)], span, count)
            following = plan[place + 1].start if place + 1 < len(plan) else count
            for index in range(span.start, following):
                yield _finished(held.pop(index), size)

    def _take(self, index: int, picture: ByteArray) -> _Frame:
        height, width = picture.shape[:2]
        below = _up(max(height, self._least[0]), self._grid) - height
        right = _up(max(width, self._least[1]), self._grid) - width
        padded = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")
        voxels = None if self._spikes is None else self._spikes.voxels(index, padded)
        return _Frame(padded, voxels)

    def _restore_clip(self, frames: list[_Frame], span: Span, count: int) -> None:
        restored = self._restore_tiles(frames)
        shared = min(self._cutting.shared_frames, span.size)
        weights = taper(span, count, shared).tolist()
        for frame, result, weight in zip(frames, restored, weights, strict=True):
            share = result * weight
            frame.total = share if frame.total is None else frame.total + share
            frame.weight += weight

    def _restore_tiles(self, frames: list[_Frame]) -> Tensor:
        """The whole clip (T, 3, H, W), float32 on the CPU, blended from its tiles."""
        height, width = frames[0].picture.shape[:2]
        total = torch.zeros(len(frames), 3, height, width)
        weight = torch.zeros(height, width)
        for tile in tiles(height, width, self._tile, self._cutting.overlap, self._grid):
            rows = slice(tile.rows.start, tile.rows.stop)
            columns = slice(tile.columns.start, tile.columns.stop)
            restored = self._model(self._cut(frames, rows, columns))
            total[:, :, rows, columns] += restored[0, : len(frames)].float().cpu() * tile.weights
            weight[rows, columns] += tile.weights
        return total / weight

    def _cut(self, frames: list[_Frame], rows: slice, columns: slice) -> Clips:
        """One tile of the clip; a film of a single frame is shown twice, since clips need two."""
        shown = frames if len(frames) > 1 else frames * 2
        pictures = np.stack([frame.picture[rows, columns] for frame in shown])
        blur = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255.0)
        if self._spikes is None:
            return Clips(blur.unsqueeze(0))
        small = [slice(s.start // self._scale, s.stop // self._scale) for s in (rows, columns)]
        voxels = np.stack([f.voxels[:, *small] for f in shown if f.voxels is not None])
        return Clips(blur.unsqueeze(0), torch.from_numpy(voxels).unsqueeze(0))


def _finished(frame: _Frame, size: tuple[int, int]) -> ByteArray:
    assert frame.total is not None
    picture = (frame.total / frame.weight).clamp(0.0, 1.0).mul(255.0).round()
    cut = picture.to(torch.uint8).permute(1, 2, 0).numpy()[: size[0], : size[1]]
    return np.ascontiguousarray(cut)


def _up(length: int, grid: int) -> int:
    return -(-length // grid) * grid
