"""Convolutional encoder of spike voxels: a pyramid of features at the spike camera's resolution."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vrtspike.model.settings import SpikeEncoderConfig


class VideoConv(nn.Conv3d):
    """A 3x3x3 convolution, computed as a 2-D one over three neighbouring frames.

    On the CPU that is about five times quicker than the 3-D kernel, and features stay
    channels-last.
    """

    def __init__(
        self, in_channels: int, out_channels: int, time_stride: int = 1, stride: int = 1
    ) -> None:
        strides = (time_stride, stride, stride)
        super().__init__(in_channels, out_channels, 3, stride=strides, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> (B, T / time_stride, H / stride, W / stride, C'), rounded up."""
        b, t, h, w, c = x.shape
        padded = F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1))
        step = self.stride[0]
        neighbours = [padded[:, i : i + t : step] for i in range(3)]
        images = torch.cat(neighbours, dim=-1).view(-1, h, w, 3 * c).permute(0, 3, 1, 2)
        kernel = self.weight.transpose(1, 2).flatten(1, 2)
        out = F.conv2d(images, kernel, self.bias, stride=self.stride[1], padding=1)
        return out.permute(0, 2, 3, 1).view(b, -1, *out.shape[2:], out.shape[1])


class ResidualBlock(nn.Module):
    """Two convolutions, a skip and a ReLU; no norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = VideoConv(channels, channels)
        self.conv2 = VideoConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> the same shape."""
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class SpikeEncoder(nn.Module):
    """Spike voxels to features of up to four scales, each at half the sides of the one before."""

    def __init__(self, bins: int, channels: Sequence[int], config: SpikeEncoderConfig) -> None:
        """Builds as many scales as there are `channels` (1 to 4).

        Args:
            bins: spike bins per frame.
            channels: output channels by scale.
            config: strides between the scales.
        """
        super().__init__()
        steps = list(pairwise(channels))
        strides = list(zip(config.temporal_strides, config.spatial_strides, strict=True))
        self.in_proj = VideoConv(bins, channels[0])
        self.res0 = _residuals(channels[0])
        self.downs = nn.ModuleList(
            VideoConv(a, b, *stride) for (a, b), stride in zip(steps, strides, strict=False)
        )
        self.residuals = nn.ModuleList(_residuals(b) for _, b in steps)

    def forward(self, voxels: Tensor) -> tuple[Tensor, ...]:
        """(B, T, K, Hs, Ws) -> one (B, T_i, H_i, W_i, C_i) per scale, finest first."""
        x = F.relu(self.in_proj(voxels.permute(0, 1, 3, 4, 2)))
        features: list[Tensor] = [self.res0(x)]
        for down, residual in zip(self.downs, self.residuals, strict=True):
            features.append(residual(F.relu(down(features[-1]))))
        return tuple(features)


def _residuals(channels: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(channels), ResidualBlock(channels))
