"""Covering a long, large clip with short, small ones that overlap, and blending the results."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """A half-open range of rows, columns or frames."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Its length."""
        return self.stop - self.start


def spans(length: int, size: int, overlap: int, grid: int = 1) -> list[Span]:
    """Ranges of `size` that cover 0..length, neighbours sharing at least `overlap`.

    Starts lie on multiples of `grid`, so that a tile of a finer and a coarser raster agree. A
    length of at most `size` is one range. `length` and `size` must be multiples of `grid`.

    Raises:
        ValueError: the overlap leaves no way forward.
    """
    if length <= size:
        return [Span(0, length)]
    stride = (size - overlap) // grid * grid
    if stride < 1:
        raise ValueError(f"an overlap of {overlap} leaves nothing of a tile of {size}")
    starts = [*range(0, length - size, stride), length - size]
    return [Span(start, start + size) for start in starts]


def taper(span: Span, length: int, overlap: int) -> Tensor:
    """Blending weights (span.size,): falling towards edges that have a neighbour, never 0."""
    ramp = torch.arange(1, overlap + 1, dtype=torch.float32) / (overlap + 1)
    weights = torch.ones(span.size)
    if span.start > 0 and overlap:
        weights[:overlap] = torch.minimum(weights[:overlap], ramp)
    if span.stop < length and overlap:
        weights[-overlap:] = torch.minimum(weights[-overlap:], ramp.flip(0))
    return weights


@dataclass(frozen=True)
class Tile:
    """A rectangle of the picture and its blending weights (height, width)."""

    rows: Span
    columns: Span
    weights: Tensor


def tiles(height: int, width: int, size: int, overlap: int, grid: int = 1) -> Iterator[Tile]:
    """Tiles of at most `size` x `size` that cover the picture."""
    for rows in spans(height, size, overlap, grid):
        vertical = taper(rows, height, min(overlap, rows.size))
        for columns in spans(width, size, overlap, grid):
            horizontal = taper(columns, width, min(overlap, columns.size))
            yield Tile(rows, columns, vertical[:, None] * horizontal[None, :])
