"""Moving frames onto each other: flow warping and flow-guided deformable convolution.

Sampling coordinates and sampling stay in float32 whatever autocast says: in bfloat16 a pixel
position beyond 256 has no fractional part left.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vrtspike.errors import ModelError
from vrtspike.model.recomputation import ContextFn, recomputed

# One frame's sampled columns hold 9 C values per pixel. Pieces that fit the CPU's cache are
# quicker; on a device the limit only bounds memory.
_COLUMN_BYTES_CPU = 8 * 2**20
_COLUMN_BYTES_DEVICE = 2**30
# From this size of one frame's columns on, they are not kept for the backward pass.
_RECOMPUTE_BYTES = 8 * 2**20
TAPS = 9


def no_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Context that switches autocast off on this kind of device."""
    if device.type == "meta":  # shapes without data, which know no autocast
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _grid(x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """Pixel coordinates to the [-1, 1] of grid_sample with align_corners=True, (..., 2)."""
    across, down = 2.0 / max(width - 1, 1), 2.0 / max(height - 1, 1)
    return torch.stack([x * across - 1.0, y * down - 1.0], dim=-1)


def _positions(size: int, device: torch.device) -> Tensor:
    return torch.arange(size, device=device, dtype=torch.float32)


def flow_warp(
    image: Tensor, flow: Tensor, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Tensor:
    """Reads `image` at every pixel's position plus the flow.

    Args:
        image: (N, C, H, W).
        flow: (N, H, W, 2) displacement in pixels, (x, y).
        mode: "bilinear", or "nearest4": the pixels at (floor x, floor y), (floor x, ceil y),
            (ceil x, floor y), (ceil x, ceil y), one after the other in the channels.
        padding_mode: what lies outside: "zeros" or "border".

    Returns:
        (N, C, H, W) float32, or (N, 4 C, H, W) for "nearest4". Bilinear values are NaN where the
        flow is not finite.
    """
    n, c, h, w = image.shape
    with no_autocast(image.device):
        x, y = flow.float().unbind(-1)
        x, y = x + _positions(w, flow.device), y + _positions(h, flow.device)[:, None]
        if mode == "bilinear":
            return _bilinear(image.float(), _grid(x, y, h, w), padding_mode)
        left, right, top, bottom = x.floor(), x.ceil(), y.floor(), y.ceil()
        xs = torch.cat([left, left, right, right], dim=1)
        ys = torch.cat([top, bottom, top, bottom], dim=1)
        grid = _grid(xs, ys, h, w)
        out = F.grid_sample(image.float(), grid, "nearest", padding_mode, align_corners=True)
        return out.view(n, c, 4, h, w).transpose(1, 2).reshape(n, 4 * c, h, w)


def _bilinear(image: Tensor, grid: Tensor, padding_mode: str) -> Tensor:
    """Samples so that a NaN coordinate gives a NaN value, whatever the padding."""
    if padding_mode != "border":
        return F.grid_sample(image, grid, "bilinear", padding_mode, align_corners=True)
    # With border padding, PyTorch hides a NaN coordinate behind a pixel of the border, and its
    # backward on the CPU ends the process with a segmentation fault.
    safe = grid.nan_to_num(nan=-2.0, posinf=math.inf, neginf=-math.inf)
    mark = grid.detach().sum(-1)[:, None] * 0.0  # NaN where a coordinate is not finite, else 0
    return F.grid_sample(image, safe, "bilinear", padding_mode, align_corners=True) + mark


def _tap_grid(offset: Tensor, groups: int) -> Tensor:
    """Sampling grid of a 3x3 kernel with padding 1.

    Args:
        offset: (N, groups, 9, 2, H, W) float32 displacement (dy, dx) of every tap.
        groups: deformable groups.

    Returns:
        (N * groups, 9 * H, W, 2) for grid_sample with align_corners=False (which, unlike True,
        is defined for sides of one pixel).
    """
    n, _, _, _, h, w = offset.shape
    tap = torch.arange(-1, 2, device=offset.device, dtype=torch.float32)
    dy, dx = tap.repeat_interleave(3).view(TAPS, 1, 1), tap.repeat(3).view(TAPS, 1, 1)
    rows, columns = _positions(h, offset.device)[:, None], _positions(w, offset.device)
    y = (offset[:, :, :, 0] + (dy + rows)) * (2.0 / h) + (1.0 / h - 1.0)
    x = (offset[:, :, :, 1] + (dx + columns)) * (2.0 / w) + (1.0 / w - 1.0)
    return torch.stack([x, y], dim=-1).view(n * groups, TAPS * h, w, 2)


def _sampled_product(
    source: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, groups: int
) -> Tensor:
    n, c, h, w = source.shape
    with no_autocast(source.device):
        images = source.float().reshape(n * groups, c // groups, h, w)
        grid = _tap_grid(offset.float().view(n, groups, TAPS, 2, h, w), groups)
        taps = F.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)
        shape = (n, groups, c // groups, TAPS, h * w)
        columns = taps.view(shape) * mask.float().view(n, groups, 1, TAPS, h * w)
    # This order of the factors never transposes the columns, forward or backward.
    kernel = weight.flatten(1).expand(n, -1, -1)
    return torch.bmm(kernel, columns.view(n, c * TAPS, h * w))


def deform_conv2d(
    source: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    context: ContextFn | None = None,
) -> Tensor:
    """Modulated deformable 3x3 convolution, padding 1, stride 1 (arXiv 1811.11168).

    One grid_sample over every deformable group and tap, then one matrix product. The sampled
    columns (9 C values per pixel) are recomputed in the backward pass where they are large, as
    the usual compiled kernel does.

    Args:
        source: (N, C, H, W).
        offset: (N, groups * 18, H, W) as (group, tap, [dy, dx]).
        mask: (N, groups * 9, H, W) weight of every tap.
        weight: (C', C / weight groups, 3, 3).
        bias: (C',).
        context: entered around both runs of what is recomputed.

    Returns:
        (N, H, W, C'), channels last.

    Raises:
        ModelError: channel counts that do not fit each other.
    """
    n, c, h, w = source.shape
    groups = mask.shape[1] // TAPS
    if groups < 1 or mask.shape[1] % TAPS or offset.shape[1] != 2 * mask.shape[1] or c % groups:
        raise ModelError(
            f"deformable convolution: {offset.shape[1]} offset and {mask.shape[1]} mask channels "
            f"do not make groups of {c} channels"
        )
    if weight.shape[1] != c:
        weight = _block_diagonal(weight, c)
    frame_bytes = TAPS * c * h * w * 4
    limit = _COLUMN_BYTES_CPU if source.device.type == "cpu" else _COLUMN_BYTES_DEVICE
    recompute = torch.is_grad_enabled() and frame_bytes > _RECOMPUTE_BYTES
    frames = max(1, limit // frame_bytes)
    parts = []
    for x, o, m in zip(source.split(frames), offset.split(frames), mask.split(frames), strict=True):
        if recompute:
            product = recomputed(
                partial(_sampled_product, groups=groups),
                *(x, o, m, weight),
                draws=False,
                context=context,
            )
        else:
            product = _sampled_product(x, o, m, weight, groups)
        parts.append(product)
    out = parts[0] if len(parts) == 1 else torch.cat(parts)
    out = out.view(n, -1, h, w).permute(0, 2, 3, 1)
    return out if bias is None else out + bias.to(out.dtype)


def _block_diagonal(weight: Tensor, channels: int) -> Tensor:
    """Grouped convolution weight as a full one with zeros, (C', channels, 3, 3)."""
    if channels % weight.shape[1] or weight.shape[0] % (channels // weight.shape[1]):
        raise ModelError(
            f"deformable convolution: weight {tuple(weight.shape)} does not fit {channels} channels"
        )
    count = channels // weight.shape[1]
    full = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    out, inner = weight.shape[0] // count, weight.shape[1]
    for g in range(count):
        rows, columns = slice(g * out, (g + 1) * out), slice(g * inner, (g + 1) * inner)
        full[rows, columns] = weight[rows]
    return full


class DeformableAlign(nn.Module):
    """Aligns a neighbour to the current frame: flow plus learned residual offsets and masks."""

    checkpoint_context: ContextFn | None = None

    def __init__(self, channels: int, groups: int, max_residue: float) -> None:
        super().__init__()
        if groups < 1 or channels % groups:
            raise ModelError(f"{groups} deformable groups do not divide {channels} channels")
        self.groups, self.max_residue = groups, max_residue
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        last = nn.Conv2d(channels, 3 * TAPS * groups, 3, padding=1)
        self.conv_offset = nn.Sequential(
            nn.Conv2d(2 * channels + 2, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            last,
        )
        bound = (channels * TAPS) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        # Offsets start at the flow itself.
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, source: Tensor, current: Tensor, flow: Tensor) -> Tensor:
        """Warps, predicts offsets and masks, samples.

        Args:
            source: (N, C, H, W) neighbour.
            current: (N, H, W, C) frame to align to.
            flow: (N, 2, H, W) in pixels, (x, y), from current to source.

        Returns:
            (N, H, W, C) the neighbour as seen from the current frame.
        """
        warped = flow_warp(source, flow.permute(0, 2, 3, 1))
        return self.sample(source, warped, current, flow)

    def sample(self, source: Tensor, warped: Tensor, current: Tensor, flow: Tensor) -> Tensor:
        """Offsets from (warped, current, flow), then the deformable convolution of `source`.

        `source` and `warped` are (N, C, H, W), `current` is (N, H, W, C); returns (N, H, W, C).
        """
        parts = [warped.permute(0, 2, 3, 1), current, flow.permute(0, 2, 3, 1)]
        guide = torch.cat(_one_dtype(parts), dim=-1).permute(0, 3, 1, 2)
        raw = self.conv_offset(guide)
        n, _, h, w = raw.shape
        with no_autocast(raw.device):
            split = raw.float().contiguous().split([18 * self.groups, TAPS * self.groups], dim=1)
            residue = self.max_residue * split[0].tanh()
            by_tap = residue.view(n, TAPS * self.groups, 2, h, w)
            offset = (by_tap + flow.float().flip(1)[:, None]).view(n, -1, h, w)
            mask = split[1].sigmoid()
        return deform_conv2d(source, offset, mask, self.weight, self.bias, self.checkpoint_context)


def _one_dtype(tensors: list[Tensor]) -> list[Tensor]:
    """Autocast leaves float32 and bfloat16 side by side; a concatenation wants one of them."""
    dtype = tensors[1].dtype
    return [t.to(dtype) for t in tensors]


def align_neighbours(
    align: DeformableAlign, x: Tensor, flow_backward: Tensor, flow_forward: Tensor
) -> Tensor:
    """Each frame's next and previous frame, aligned to it; zeros where there is none.

    Args:
        align: the alignment of one frame pair, shared by all.
        x: (B, T, H, W, C).
        flow_backward: (B, T-1, 2, H, W) flow from frame t to frame t+1.
        flow_forward: (B, T-1, 2, H, W) flow from frame t+1 to frame t.

    Returns:
        (B, T, H, W, 3 C): the frame itself, its next and its previous frame.
    """
    b, t, h, w, c = x.shape
    images = x.permute(0, 1, 4, 2, 3).contiguous()
    source = torch.cat([images[:, 1:], images[:, :-1]]).flatten(0, 1)
    current = torch.cat([x[:, :-1], x[:, 1:]]).flatten(0, 1)
    flow = torch.cat([flow_backward, flow_forward]).flatten(0, 1)
    aligned = align(source, current, flow).view(2, b, t - 1, h, w, c).to(x.dtype)
    none = x.new_zeros(b, 1, h, w, c)
    following, previous = torch.cat([aligned[0], none], 1), torch.cat([none, aligned[1]], 1)
    return torch.cat([x, following, previous], dim=-1)
