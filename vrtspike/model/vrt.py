"""VRT, the video restoration transformer (arXiv 2201.12288), for restoration without upscaling."""

from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vrtspike.model.alignment import flow_warp
from vrtspike.model.attention import BlockSpec, ReconstructionGroup
from vrtspike.model.optical_flow import FLOW_SCALES, SpyNet
from vrtspike.model.settings import NUM_TRUNK_STAGES, Attention
from vrtspike.model.trunk import FrameConv, Reshape, Stage, StageSpec, make_reconstruction
from vrtspike.model.vrt_settings import VRTSettings

Refine = Callable[[int, Tensor], Tensor]

STAGE_SCALES = (1, 2, 4, 8, 4, 2, 1)
_RESHAPES: tuple[Reshape, ...] = ("none", "down", "down", "down", "up", "up", "up")
_MAX_RESIDUE_PX = 10.0  # at full resolution; divided by the scale elsewhere


class FrameWarp(nn.Module):
    """Every frame beside its neighbours warped to it, each by four nearest pixels."""

    def forward(self, clip: Tensor, flow_backward: Tensor, flow_forward: Tensor) -> Tensor:
        """(B, T, 3, H, W) and two flows (B, T-1, 2, H, W) -> (B, T, H, W, 27)."""
        b, t, c, h, w = clip.shape
        source = torch.cat([clip[:, 1:], clip[:, :-1]]).flatten(0, 1)
        # The nearest pixel does not depend on the flow smoothly: no gradient goes this way.
        flow = torch.cat([flow_backward, flow_forward]).flatten(0, 1).detach()
        warped = flow_warp(source, flow.permute(0, 2, 3, 1), "nearest4")
        following, previous = warped.view(2, b, t - 1, 4 * c, h, w).unbind(0)
        none = following.new_zeros(b, 1, 4 * c, h, w)
        neighbours = [torch.cat([following, none], 1), torch.cat([none, previous], 1)]
        return torch.cat([clip, *neighbours], dim=2).permute(0, 1, 3, 4, 2).contiguous()


class VRT(nn.Module):
    """Video restoration transformer with the parameter names of the released checkpoints."""

    def __init__(self, *, attention: Attention = "auto", **cfg: Any) -> None:
        """Builds the network.

        Args:
            attention: how window attention is computed: "explicit", "fused" or "auto".
            **cfg: fields of `VRTSettings`.

        Raises:
            ModelError: an unknown argument, or values that do not fit each other.
        """
        super().__init__()
        self.settings = VRTSettings.from_kwargs(cfg)
        dims = self.settings.embed_dims
        self.spynet = SpyNet()
        self.frame_warp = FrameWarp()
        self.conv_first = FrameConv(9 * self.settings.in_chans, dims[0])
        for number, spec in enumerate(_stage_specs(self.settings, attention), start=1):
            self.add_module(f"stage{number}", Stage(spec))
        groups = list(_reconstruction_groups(self.settings, attention))
        self.stage8 = make_reconstruction(dims[6], dims[-1], groups)
        self.norm = nn.LayerNorm(dims[-1])
        self.conv_after_body = nn.Linear(dims[-1], dims[0])
        self.conv_last = FrameConv(dims[0], self.settings.out_chans)
        self._initialise_linear_layers()

    def _initialise_linear_layers(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, clip: Tensor, refine: Refine | None = None) -> Tensor:
        """Restores a clip.

        Args:
            clip: (B, T, 3, H, W) in [0, 1].
            refine: called with (1..4, tokens (B, T, h, w, C)) after each of stages 1-4; what it
                returns replaces the stage's output, in the skip connections too.

        Returns:
            (B, T, 3, H, W): the clip plus the predicted residual, not clamped.

        Raises:
            ModelError: a clip whose shape the network cannot work on.
        """
        self.settings.check_clip(clip.shape)
        flows: tuple[Tensor, ...] = self.spynet(clip)
        first = self.conv_first(self.frame_warp(clip, flows[0], flows[len(FLOW_SCALES)]))
        body = self._stages(first, flows, refine)
        residual = self.conv_last(first + self.conv_after_body(self.norm(body)))
        out: Tensor = clip + residual.permute(0, 1, 4, 2, 3)
        return out

    def _stages(self, first: Tensor, flows: tuple[Tensor, ...], refine: Refine | None) -> Tensor:
        outputs: list[Tensor] = []
        x = first
        for number, scale in enumerate(STAGE_SCALES, start=1):
            level = FLOW_SCALES.index(scale)
            # Stages 6 and 7 also take what stages 3 and 2 left at the same resolution.
            skip = outputs[8 - number] if number >= 6 else None
            stage = getattr(self, f"stage{number}")
            x = stage(x, flows[level], flows[level + len(FLOW_SCALES)], skip)
            if refine is not None and number <= len(FLOW_SCALES):
                x = refine(number, x)
            outputs.append(x)
        out: Tensor = self.stage8(x, outputs[0])
        return out


def _drop_path_slices(settings: VRTSettings) -> list[list[float]]:
    """Rates rising linearly over all blocks, cut by entry of `depths`."""
    step = settings.drop_path_rate / max(1, sum(settings.depths) - 1)
    ends = list(accumulate(settings.depths, initial=0))
    return [[step * block for block in range(*span)] for span in pairwise(ends)]


def _block_spec(settings: VRTSettings, index: int, attention: Attention) -> BlockSpec:
    return BlockSpec(
        dim=settings.embed_dims[index],
        heads=settings.num_heads[index],
        window=settings.block_window(index),
        mlp_ratio=settings.mlp_ratio,
        qkv_bias=settings.qkv_bias,
        attention=attention,
        checkpoint_attn=settings.use_checkpoint_attn,
        checkpoint_ffn=settings.use_checkpoint_ffn,
    )


def _stage_specs(settings: VRTSettings, attention: Attention) -> Iterator[StageSpec]:
    rates = _drop_path_slices(settings)
    for i, (scale, reshape) in enumerate(zip(STAGE_SCALES, _RESHAPES, strict=True)):
        yield StageSpec(
            blocks=_block_spec(settings, i, attention),
            in_dim=settings.embed_dims[max(i - 1, 0)],
            reshape=reshape,
            mutual_depth=settings.mutual_depth(i + 1),
            drop_paths=rates[i],
            deformable_groups=settings.deformable_groups,
            max_residue=_MAX_RESIDUE_PX / scale,
        )


def _reconstruction_groups(
    settings: VRTSettings, attention: Attention
) -> Iterator[ReconstructionGroup]:
    rates = _drop_path_slices(settings)
    for i in range(NUM_TRUNK_STAGES, len(settings.depths)):
        yield ReconstructionGroup(_block_spec(settings, i, attention), rates[i])
