"""Spatial chunks for attention over time: each pixel's sequence is independent of the others."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vrtspike.model.settings import ChunkedAttentionConfig


def chunk_sides(
    height: int, width: int, batch: int, config: ChunkedAttentionConfig
) -> tuple[int, int]:
    """Height and width of a chunk, in pixels.

    Without `adaptive_chunk` a chunk is a square of `chunk_size`. With it, a chunk's area is at
    most `chunk_size` squared and batch * area at most `max_batch_tokens` (never below one pixel).

    Args:
        height: height of the feature map.
        width: width of the feature map.
        batch: clips in the batch.
        config: chunk settings.
    """
    if not config.adaptive_chunk:
        return min(height, config.chunk_size), min(width, config.chunk_size)
    area = max(1, min(config.max_batch_tokens // batch, config.chunk_size**2))
    if config.chunk_shape == "square":
        side = math.isqrt(area)
        return min(side, height), min(side, width)
    if config.chunk_shape == "wide":
        return _elongated(area, height, width)
    w, h = _elongated(area, width, height)
    return h, w


def _elongated(area: int, short_limit: int, long_limit: int) -> tuple[int, int]:
    """Short and long side of a chunk whose long side is 1.25 times that of the square."""
    long = max(1, min(round(math.sqrt(area) * 1.25), long_limit, area))
    return min(area // long, short_limit), long


def over_chunks(
    function: Callable[..., Tensor], tensors: tuple[Tensor, ...], config: ChunkedAttentionConfig
) -> Tensor:
    """Applies a per-pixel function to spatial chunks and joins the results.

    Args:
        function: takes as many tensors as given, returns one of the same (B, T, h, w).
        tensors: (B, T, H, W, C) each.
        config: chunk settings.
    """
    batch, _, height, width = tensors[0].shape[:4]
    h, w = chunk_sides(height, width, batch, config)
    if (h, w) == (height, width):
        return function(*tensors)
    bands = []
    for band in zip(*(t.split(h, dim=2) for t in tensors), strict=True):
        pieces = zip(*(t.split(w, dim=3) for t in band), strict=True)
        bands.append(torch.cat([function(*piece) for piece in pieces], dim=3))
    return torch.cat(bands, dim=2)
