"""Cutting a video feature map into attention windows, as one gather there and one back.

Features are channels-last tokens (batch, frames, height, width, channels). A window plan holds the
order in which the flattened tokens are read so that zero padding, the cyclic shift and the
partition all happen in a single indexed copy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

REGION_PENALTY = -100.0  # added to the logits of two tokens that only the cyclic shift joined
_MERGED_WINDOWS = 8  # up to so many windows, one launch with a mask each beats a launch per mask
_CACHED_PLANS = 64  # a training run needs about 20; crops of many sizes must not pile up

IntArray = npt.NDArray[np.int64]
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class MaskGroup:
    """A run of consecutive windows that share one mask, or that have one mask each.

    Attributes:
        windows: number of windows in the run (each for every clip of the batch).
        mask: (1 | windows, N, N) float32 to add to the logits; None where no mask is needed.
    """

    windows: int
    mask: Tensor | None


@dataclass(frozen=True)
class WindowPlan:
    """How the tokens of one feature-map shape are cut into windows.

    Attributes:
        to_windows: (windows * batch * N,) token read by each window slot, window-major.
        to_tokens: (batch * D * H * W,) window slot that holds each token.
        padding: window slots that hold no token and are zero; None when there are none.
        tokens_per_window: N.
        groups: the windows, in order, by mask.
    """

    to_windows: Tensor
    to_tokens: Tensor
    padding: Tensor | None
    tokens_per_window: int
    groups: tuple[MaskGroup, ...]


def effective_window(size: Sequence[int], window: Sequence[int]) -> tuple[Triple, Triple]:
    """Window and shift for a feature map of `size`: a window never exceeds it, and then stays put.

    Args:
        size: (D, H, W) of the feature map.
        window: configured (frames, height, width).

    Returns:
        The effective window and the shift of shifted blocks, per dimension.
    """
    pairs = [(s, 0) if s <= w else (w, w // 2) for s, w in zip(size, window, strict=True)]
    (d, sd), (h, sh), (w, sw) = pairs
    return (d, h, w), (sd, sh, sw)


def region_masks(size: Triple, window: Triple, shift: Triple) -> npt.NDArray[np.float32]:
    """Logit masks of every window of a cyclically shifted map whose size the window divides.

    Returns:
        (windows, N, N) float32: 0 between tokens of one region, `REGION_PENALTY` between regions.
    """
    bounds = [_regions(s, w, o) for s, w, o in zip(size, window, shift, strict=True)]
    region = bounds[0][:, None, None] * 9 + bounds[1][:, None] * 3 + bounds[2]
    cut = _partition(region, window)
    differ = cut[:, :, None] != cut[:, None, :]
    return np.where(differ, np.float32(REGION_PENALTY), np.float32(0.0))


def _regions(size: int, window: int, shift: int) -> IntArray:
    region = np.zeros(size, dtype=np.int64)
    if shift:
        region[size - window : size - shift] = 1
        region[size - shift :] = 2
    return region


def _partition(grid: IntArray, window: Triple) -> IntArray:
    """(D, H, W) -> (windows, N)."""
    (d, h, w), (wd, wh, ww) = grid.shape, window
    cut = grid.reshape(d // wd, wd, h // wh, wh, w // ww, ww).transpose(0, 2, 4, 1, 3, 5)
    return cut.reshape(-1, wd * wh * ww)


def _mask_kinds(padded: Triple, window: Triple, shift: Triple) -> IntArray:
    """A number per window that says which mask it has; 0 is none (only last windows are cut)."""
    counts = [p // w for p, w in zip(padded, window, strict=True)]
    last = [
        (np.arange(n) == n - 1).astype(np.int64) * (2**i) * (o > 0)
        for i, (n, o) in enumerate(zip(counts, shift, strict=True))
    ]
    kinds: IntArray = (last[0][:, None, None] + last[1][:, None] + last[2]).reshape(-1)
    return kinds


def _window_tokens(size: Triple, window: Triple, shift: Triple) -> tuple[IntArray, Triple]:
    """Token index of every slot (windows, N), -1 where padding; and the padded size."""
    d, h, w = (-(-s // o) * o for s, o in zip(size, window, strict=True))
    grid = np.full((d, h, w), -1, dtype=np.int64)
    grid[: size[0], : size[1], : size[2]] = np.arange(size[0] * size[1] * size[2]).reshape(size)
    rolled = np.roll(grid, [-s for s in shift], axis=(0, 1, 2))
    return _partition(rolled, window), (d, h, w)


def _mask_groups(
    padded: Triple, window: Triple, shift: Triple
) -> tuple[IntArray, list[tuple[int, npt.NDArray[np.float32] | None]]]:
    """Window order that puts equal masks side by side, and the runs it makes."""
    kinds = _mask_kinds(padded, window, shift)
    order = np.argsort(kinds, kind="stable")
    if not kinds.any():
        return order, [(len(kinds), None)]
    if len(kinds) <= _MERGED_WINDOWS:
        return order, [(len(kinds), region_masks(padded, window, shift)[order])]
    # Masks only depend on which edges a window touches: two windows per dimension show them all.
    small: Triple = tuple(  # type: ignore[assignment]
        min(p, 2 * w) for p, w in zip(padded, window, strict=True)
    )
    sample = dict(
        zip(
            _mask_kinds(small, window, shift).tolist(),
            region_masks(small, window, shift),
            strict=True,
        )
    )
    values, counts = np.unique(kinds, return_counts=True)
    return order, [
        (int(n), sample[int(kind)][None] if kind else None)
        for kind, n in zip(values, counts, strict=True)
    ]


@lru_cache(maxsize=_CACHED_PLANS)
def _plan(
    batch: int, size: Triple, window: Triple, shift: Triple, device: torch.device
) -> WindowPlan:
    slots, padded = _window_tokens(size, window, shift)
    order, groups = _mask_groups(padded, window, shift)
    slots = slots[order]
    offsets = np.arange(batch)[None, :, None] * (size[0] * size[1] * size[2])
    flat = np.where(slots[:, None] < 0, -1, slots[:, None] + offsets).reshape(-1)
    pads = np.flatnonzero(flat < 0)
    inverse = np.empty(batch * size[0] * size[1] * size[2], dtype=np.int64)
    inverse[flat[flat >= 0]] = np.flatnonzero(flat >= 0)

    def put(array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    # A plan made under inference_mode would poison a later training step that finds it cached.
    with torch.inference_mode(False):
        return WindowPlan(
            # 32 bits: the indices of a large frame take as much memory as several channels.
            to_windows=put(np.maximum(flat, 0).astype(np.int32)),
            to_tokens=put(inverse.astype(np.int32)),
            padding=put(pads) if len(pads) else None,
            tokens_per_window=slots.shape[1],
            groups=tuple(MaskGroup(n, None if m is None else put(m)) for n, m in groups),
        )


# torch.compile cannot trace the index arithmetic: it takes the finished plan as a constant. It
# accepts numbers here, but no tuples of numbers.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _constant_plan(device: torch.device, shifted: bool, *numbers: int) -> WindowPlan:
    """`numbers`: batch, then the three of the size, then the three of the configured window."""
    size: Triple = numbers[1:4]  # type: ignore[assignment]
    window, shift = effective_window(size, numbers[4:])
    return _plan(numbers[0], size, window, shift if shifted else (0, 0, 0), device)


def window_plan(
    shape: Sequence[int], window: Sequence[int], shifted: bool, device: torch.device
) -> WindowPlan:
    """The plan for tokens (B, D, H, W, ...); plans are kept for the most recent shapes.

    Args:
        shape: B, D, H, W (what follows is ignored).
        window: configured window (frames, height, width).
        shifted: whether the block shifts its windows by half.
        device: where the index tensors live.
    """
    plan: WindowPlan = _constant_plan(device, shifted, *shape[:4], *window)
    return plan


class _Rearrange(torch.autograd.Function):
    """Reads rows in a given order. The backward is a gather too, where autograd would scatter."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        index: Tensor,
        padding: Tensor | None,
        inverse: Tensor,
        inverse_padding: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(inverse, inverse_padding)
        return _read(rows, index, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inverse, inverse_padding = ctx.saved_tensors
        return _read(grads[0], inverse, inverse_padding), None, None, None, None


def _read(rows: Tensor, index: Tensor, padding: Tensor | None) -> Tensor:
    out = rows.index_select(0, index)
    return out if padding is None else out.index_fill_(0, padding, 0.0)


# PyTorch leaves `apply` untyped.
_rearrange: Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor | None], Tensor] = (
    _Rearrange.apply
)


def to_windows(tokens: Tensor, plan: WindowPlan) -> Tensor:
    """(B, D, H, W, C) -> (windows * B * N, C); slots outside the map are zero."""
    rows = tokens.reshape(-1, tokens.shape[-1])
    return _rearrange(rows, plan.to_windows, plan.padding, plan.to_tokens, None)


def to_tokens(rows: Tensor, plan: WindowPlan, shape: Sequence[int]) -> Tensor:
    """(windows * B * N, C) -> (B, D, H, W, C), the inverse of `to_windows`."""
    out = _rearrange(rows, plan.to_tokens, None, plan.to_windows, plan.padding)
    return out.reshape(*shape[:4], rows.shape[-1])
