"""The multi-scale stages 1-7 of VRT and its stage 8."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from vrtspike.model.alignment import DeformableAlign, align_neighbours
from vrtspike.model.attention import BlockGroup, BlockSpec, GatedMLP, ReconstructionGroup

Reshape = Literal["none", "down", "up"]


class SpaceToChannels(nn.Module):
    """2x2 pixels into channels (column parity, row parity, channel), halving both sides."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> (B, D, H/2, W/2, 4 C)."""
        b, d, h, w, c = x.shape
        cut = x.view(b, d, h // 2, 2, w // 2, 2, c).permute(0, 1, 2, 4, 5, 3, 6)
        return cut.reshape(b, d, h // 2, w // 2, 4 * c)


class ChannelsToSpace(nn.Module):
    """The inverse of SpaceToChannels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, 4 C) -> (B, D, 2 H, 2 W, C)."""
        b, d, h, w, c = x.shape
        cut = x.view(b, d, h, w, 2, 2, c // 4).permute(0, 1, 2, 5, 3, 4, 6)
        return cut.reshape(b, d, 2 * h, 2 * w, c // 4)


def make_reshape(kind: Reshape, in_dim: int, dim: int) -> nn.Sequential:
    """Change of resolution and channels at the entry of a stage."""
    if kind == "none":
        return nn.Sequential(nn.Identity(), nn.LayerNorm(dim))
    first = SpaceToChannels() if kind == "down" else ChannelsToSpace()
    width = 4 * in_dim if kind == "down" else in_dim // 4
    return nn.Sequential(first, nn.LayerNorm(width), nn.Linear(width, dim))


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One of the stages 1-7.

    Attributes:
        blocks: what its blocks share; `blocks.window` is the self-attention window.
        in_dim: channels of its input.
        reshape: "none", "down" (half the sides) or "up" (twice).
        mutual_depth: blocks with mutual attention, which come first.
        drop_paths: one rate per block. Both groups start at its first entry, as the released
            model was trained.
        deformable_groups: groups of the deformable convolution.
        max_residue: largest residual offset in pixels.
    """

    blocks: BlockSpec
    in_dim: int
    reshape: Reshape
    mutual_depth: int
    drop_paths: Sequence[float]
    deformable_groups: int
    max_residue: float


class Stage(nn.Module):
    """Mutual and self attention at one scale, then alignment of both neighbours."""

    def __init__(self, spec: StageSpec) -> None:
        super().__init__()
        dim, (_, h, w) = spec.blocks.dim, spec.blocks.window
        rates, first = spec.drop_paths, spec.mutual_depth
        mutual = replace(spec.blocks, mutual=True, window=(2, h, w))
        self.reshape = make_reshape(spec.reshape, spec.in_dim, dim)
        self.residual_group1 = BlockGroup(mutual, rates[:first])
        self.linear1 = nn.Linear(dim, dim)
        self.residual_group2 = BlockGroup(spec.blocks, rates[: len(rates) - first])
        self.linear2 = nn.Linear(dim, dim)
        self.pa_deform = DeformableAlign(dim, spec.deformable_groups, spec.max_residue)
        self.pa_fuse = GatedMLP(3 * dim, 3 * dim, dim)

    def forward(
        self, x: Tensor, flow_backward: Tensor, flow_forward: Tensor, skip: Tensor | None = None
    ) -> Tensor:
        """Runs the stage.

        Args:
            x: (B, D, H', W', C') output of the stage before.
            flow_backward: (B, D-1, 2, H, W) at this stage's scale.
            flow_forward: likewise.
            skip: added to `x` first.

        Returns:
            (B, D, H, W, C).
        """
        x = self.reshape(x if skip is None else x + skip)
        x = self.linear1(self.residual_group1(x)) + x
        x = self.linear2(self.residual_group2(x)) + x
        fused: Tensor = self.pa_fuse(
            align_neighbours(self.pa_deform, x, flow_backward, flow_forward)
        )
        return fused


class Reconstruction(nn.Sequential):
    """Stage 8: change of channels, then groups of self attention at full resolution."""

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """(B, D, H, W, C') -> (B, D, H, W, C); `skip` is added to the input first."""
        out: Tensor = super().forward(  # type: ignore[no-untyped-call]
            x if skip is None else x + skip
        )
        return out


def make_reconstruction(
    in_dim: int, dim: int, groups: Sequence[ReconstructionGroup]
) -> Reconstruction:
    """Stage 8 from its groups, behind a layer norm and the linear layer that changes channels."""
    entry = nn.Sequential(nn.Identity(), nn.LayerNorm(in_dim), nn.Linear(in_dim, dim))
    return Reconstruction(entry, *groups)


class FrameConv(nn.Conv3d):
    """A 1x3x3 convolution, computed as a 2-D convolution of every frame (1.7 times quicker)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> (B, T, H, W, C')."""
        b, t, h, w, c = x.shape
        images = x.reshape(b * t, h, w, c).permute(0, 3, 1, 2)
        out = torch.nn.functional.conv2d(images, self.weight.squeeze(2), self.bias, padding=1)
        return out.permute(0, 2, 3, 1).reshape(b, t, h, w, -1)
