"""SpyNet: optical flow between neighbouring frames, coarse to fine (arXiv 1611.00850)."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vrtspike.model.alignment import flow_warp, no_autocast

LEVELS = 6
FLOW_SCALES = (1, 2, 4, 8)
_SIDE_MULTIPLE = 32


class FlowLevel(nn.Module):
    """Five 7x7 convolutions that refine the flow of one pyramid level."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 32, 64, 32, 16, 2)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.ReLU()] if i else []
            layers.append(nn.Conv2d(a, b, 7, padding=3))
        self.basic_module = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8, H, W) reference, warped neighbour and flow -> (N, 2, H, W) correction."""
        out: Tensor = self.basic_module(x.contiguous(memory_format=torch.channels_last))
        return out


class SpyNet(nn.Module):
    """Flows between neighbouring frames in both directions and at four scales, in float32."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(FlowLevel() for _ in range(LEVELS))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Estimates all flows at once: the pyramid is built once for both directions.

        Args:
            frames: (B, T, 3, H, W) in [0, 1], H and W above 32.

        Returns:
            Eight tensors (B, T-1, 2, H/s, W/s), in pixels of their scale, (x, y): the backward
            flows (frame t to t+1) at s = 1, 2, 4, 8, then the forward flows (t+1 to t).
        """
        b, t, _, h, w = frames.shape
        with no_autocast(frames.device):
            flows = self._both_directions(frames.float(), (h, w))
            halves = [flow.view(2, b, t - 1, *flow.shape[1:]) for flow in flows]
        return tuple(f[0] for f in halves) + tuple(f[1] for f in halves)

    def _both_directions(self, frames: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Flows (2 * B * (T-1), 2, h, w) at the four scales, finest first."""
        b, t = frames.shape[:2]
        emitted: list[Tensor] = []
        flow: Tensor | None = None
        for level, images in enumerate(self._pyramid(frames.flatten(0, 1), size)):
            clip = images.view(b, t, *images.shape[1:])
            earlier, later = clip[:, :-1], clip[:, 1:]
            reference = torch.cat([earlier, later]).flatten(0, 1)
            neighbour = torch.cat([later, earlier]).flatten(0, 1)
            flow = self._refine(level, reference, neighbour, flow)
            if level >= LEVELS - len(FLOW_SCALES):
                scale = 2 ** (LEVELS - 1 - level)
                emitted.insert(0, _resize_flow(flow, size[0] // scale, size[1] // scale))
        return emitted

    def _pyramid(self, images: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Normalised images from the coarsest to the finest level; sides a multiple of 32."""
        target = [math.ceil(s / _SIDE_MULTIPLE) * _SIDE_MULTIPLE for s in size]
        if target != list(size):
            images = F.interpolate(images, target, mode="bilinear", align_corners=False)
        levels = [(images - self.mean) / self.std]
        for _ in range(LEVELS - 1):
            levels.insert(0, F.avg_pool2d(levels[0], 2, 2))
        return levels

    def _refine(
        self, level: int, reference: Tensor, neighbour: Tensor, flow: Tensor | None
    ) -> Tensor:
        h, w = reference.shape[-2:]
        if flow is None:
            flow = reference.new_zeros(reference.shape[0], 2, h // 2, w // 2)
        up = 2.0 * F.interpolate(flow, scale_factor=2.0, mode="bilinear", align_corners=True)
        # Levels of odd size lost a row or column on the way down.
        up = F.pad(up, (0, w - up.shape[-1], 0, h - up.shape[-2]), mode="replicate")
        warped = flow_warp(neighbour, up.permute(0, 2, 3, 1), padding_mode="border")
        correction: Tensor = self.basic_module[level](torch.cat([reference, warped, up], dim=1))
        return correction + up


def _resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resizes a flow field and its values."""
    h, w = flow.shape[-2:]
    if (h, w) == (height, width):
        return flow
    out = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    # By numbers: a small tensor of factors would be a copy that waits for the device.
    return torch.stack([out[:, 0] * (width / w), out[:, 1] * (height / h)], dim=1)
