"""Attention over time, for every pixel by itself, on channels-last tokens."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vrtspike.errors import ModelError
from vrtspike.model.attention import use_fused
from vrtspike.model.chunking import over_chunks
from vrtspike.model.settings import Attention, ChunkedAttentionConfig


class TimeAttention(nn.Module):
    """Multi-head attention along the frames, with the parameters of `nn.MultiheadAttention`.

    Sequences are a few frames long and there is one per pixel, so products of tiny matrices would
    be slow: the explicit form multiplies and sums whole feature maps for each pair of frames.
    """

    def __init__(self, channels: int, heads: int, dropout: float, mode: Attention) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ModelError(f"{heads} attention heads do not divide {channels} channels")
        self.heads, self.dropout, self.mode = heads, dropout, mode
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, context: Tensor | None = None) -> Tensor:
        """Each frame of `query` looks at all frames of `context` (default: itself).

        Args:
            query: (B, T, H, W, C).
            context: (B, T', H, W, C).

        Returns:
            (B, T, H, W, C).
        """
        q, k, v = (self._heads(x) for x in self._project(query, context))
        out = self._fused(q, k, v) if use_fused(self.mode, q) else self._explicit(q, k, v)
        projected: Tensor = self.out_proj(out.reshape(query.shape))
        return projected

    def _project(self, query: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        if context is None:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        c = query.shape[-1]
        weights, biases = self.in_proj_weight.split([c, 2 * c]), self.in_proj_bias.split([c, 2 * c])
        kv = F.linear(context, weights[1], biases[1])
        return F.linear(query, weights[0], biases[0]), *kv.chunk(2, dim=-1)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> (B, T, H * W, heads, C / heads)."""
        b, t, h, w, c = x.shape
        return x.reshape(b, t, h * w, self.heads, c // self.heads)

    def _explicit(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = q * q.shape[-1] ** -0.5
        weights = (q[:, :, None] * k[:, None]).sum(-1).softmax(dim=2)
        weights = F.dropout(weights, self.dropout, self.training)
        return (weights[..., None].to(v.dtype) * v[:, None]).sum(2)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As (B * pixels, heads, T, d) sequences."""
        batch = q.shape[0]
        q, k, v = (x.permute(0, 2, 3, 1, 4).flatten(0, 1) for x in (q, k, v))
        rate = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        return out.view(batch, -1, *out.shape[1:]).permute(0, 3, 1, 2, 4)


def feed_forward(channels: int, ratio: float) -> nn.Sequential:
    """Linear, GELU, linear."""
    hidden = int(channels * ratio)
    return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))


class TemporalBlock(nn.Module):
    """Pre-norm self attention over time and feed-forward layer, in spatial chunks."""

    def __init__(self, channels: int, config: ChunkedAttentionConfig, mode: Attention) -> None:
        super().__init__()
        self.config = config
        self.ln1 = nn.LayerNorm(channels)
        self.attn = TimeAttention(channels, config.heads, config.dropout, mode)
        self.ln2 = nn.LayerNorm(channels)
        self.mlp = feed_forward(channels, config.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) -> the same shape."""
        return over_chunks(self._block, (x,), self.config)

    def _block(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        out: Tensor = x + self.mlp(self.ln2(x))
        return out


class SpikeTemporalAttention(nn.Module):
    """Self attention over time of the spike features, one block per scale that is used."""

    def __init__(
        self,
        channels: Sequence[int],
        scales: Sequence[int],
        config: ChunkedAttentionConfig,
        mode: Attention,
    ) -> None:
        super().__init__()
        # Named by scale, so that leaving one out renames no other parameter.
        self.blocks = nn.ModuleDict(
            {str(s - 1): TemporalBlock(channels[s - 1], config, mode) for s in scales}
        )

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Features (B, T, H, W, C) of scale 1, 2, ... -> the same; unused scales pass through."""
        blocks: Mapping[str, nn.Module] = dict(self.blocks.items())
        return tuple(blocks[str(i)](x) if str(i) in blocks else x for i, x in enumerate(features))
