"""Fusion of spike features into RGB features by cross attention over time."""

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vrtspike.errors import ModelError
from vrtspike.model.chunking import over_chunks
from vrtspike.model.settings import NUM_FUSION_SCALES, Attention, FuseConfig
from vrtspike.model.temporal_attention import TimeAttention, feed_forward

# Looked up, since torch.compile does not trace str() of a number.
_BLOCK_NAMES = tuple(str(i) for i in range(NUM_FUSION_SCALES))


class ChunkedCrossAttention(nn.Module):
    """Attention over time from one feature map to another, in spatial chunks."""

    def __init__(self, channels: int, config: FuseConfig, mode: Attention) -> None:
        super().__init__()
        self.config = config
        self.attn = TimeAttention(channels, config.heads, config.dropout, mode)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Two (B, T, H, W, C) -> the shape of the first."""
        return over_chunks(self.attn, (query, context), self.config)


class FusionBlock(nn.Module):
    """RGB features look at the spike features of the same pixel in all frames."""

    def __init__(self, channels: int, config: FuseConfig, mode: Attention) -> None:
        super().__init__()
        self.ln_q = nn.LayerNorm(channels)
        self.ln_kv = nn.LayerNorm(channels)
        self.attn = ChunkedCrossAttention(channels, config, mode)
        self.ln_ffn = nn.LayerNorm(channels)
        self.ffn = feed_forward(channels, config.mlp_ratio)

    def forward(self, rgb: Tensor, spike: Tensor) -> Tensor:
        """Fuses.

        Args:
            rgb: (B, T, H, W, C).
            spike: (B, T, Hs, Ws, C), resized bilinearly to H and W where they differ.

        Returns:
            (B, T, H, W, C).

        Raises:
            ModelError: the two differ in batch or frames.
        """
        if rgb.shape[:2] != spike.shape[:2]:
            raise ModelError(
                f"fusion: RGB features have (batch, frames) {tuple(rgb.shape[:2])}, "
                f"spike features {tuple(spike.shape[:2])}"
            )
        context = self.ln_kv(_resize(spike, rgb.shape[2], rgb.shape[3]))
        x = rgb + self.attn(self.ln_q(rgb), context)
        out: Tensor = x + self.ffn(self.ln_ffn(x))
        return out


class SpikeFusion(nn.Module):
    """The fusion blocks, by scale."""

    def __init__(self, channels: Sequence[int], config: FuseConfig, mode: Attention) -> None:
        super().__init__()
        # Named by scale, so that leaving one out renames no other parameter.
        self.fuse_blocks = nn.ModuleDict(
            {str(s - 1): FusionBlock(channels[s - 1], config, mode) for s in sorted(config.scales)}
        )

    def forward(self, scale: int, rgb: Tensor, spike: Sequence[Tensor]) -> Tensor:
        """RGB features after stage `scale` (1..4) fused, or as they are where none is wanted."""
        key = _BLOCK_NAMES[scale - 1]
        if key not in self.fuse_blocks:
            return rgb
        out: Tensor = self.fuse_blocks[key](rgb, spike[scale - 1])
        return out


def _resize(x: Tensor, height: int, width: int) -> Tensor:
    b, t, h, w, _ = x.shape
    if (h, w) == (height, width):
        return x
    images = x.flatten(0, 1).permute(0, 3, 1, 2)
    out = F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
    return out.permute(0, 2, 3, 1).reshape(b, t, height, width, -1)
