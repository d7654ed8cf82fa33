"""Window attention of VRT: mutual and self attention blocks on channels-last video tokens.

Written from the published description (VRT, arXiv 2201.12288; Swin, arXiv 2103.14030); parameter
names follow the released VRT checkpoints so that these load.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from vrtspike.errors import ModelError
from vrtspike.model.recomputation import ContextFn, recomputed
from vrtspike.model.settings import Attention
from vrtspike.model.windows import Triple, WindowPlan, to_tokens, to_windows, window_plan


@dataclass(frozen=True, kw_only=True)
class BlockSpec:
    """What the transformer blocks of one group have in common.

    Attributes:
        dim: channels.
        heads: attention heads; must divide `dim`.
        window: configured window (frames, height, width).
        mutual: also attend between the two frames of a window.
        mlp_ratio: hidden width of the gated MLP over `dim`.
        qkv_bias: whether query, key and value projections have a bias.
        attention: "explicit" (matmul and softmax), "fused" or "auto".
        checkpoint_attn: recompute the attention half in the backward pass.
        checkpoint_ffn: recompute the MLP half in the backward pass.
    """

    dim: int
    heads: int
    window: Triple
    mutual: bool = False
    mlp_ratio: float = 2.0
    qkv_bias: bool = True
    attention: Attention = "auto"
    checkpoint_attn: bool = False
    checkpoint_ffn: bool = False

    def __post_init__(self) -> None:
        if self.heads < 1 or self.dim % self.heads:
            raise ModelError(f"{self.heads} attention heads do not divide {self.dim} channels")
        if self.mutual and self.dim % 4:
            raise ModelError(f"mutual attention needs channels divisible by 4, got {self.dim}")
        if self.attention not in ("auto", "explicit", "fused"):
            raise ModelError(f"attention must be auto, explicit or fused, got {self.attention!r}")


def use_fused(mode: Attention, query: Tensor) -> bool:
    """Whether to call the fused kernel.

    With a trainable bias the fused call falls back to unfused math on the CPU and is slower than
    the explicit form, so "auto" avoids it there in training.
    """
    if mode == "auto":
        return not (query.device.type == "cpu" and torch.is_grad_enabled())
    return mode == "fused"


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, fused: bool) -> Tensor:
    """Softmax attention.

    Args:
        query: (windows, heads, N, d).
        key: as `query`.
        value: as `query`.
        bias: added to the scaled logits, broadcast over (windows, heads, N, N).
        fused: call the fused kernel instead of matmul and softmax.

    Returns:
        (windows, N, heads * d).
    """
    if fused:
        bias = None if bias is None else bias.to(query.dtype).expand(query.shape[0], -1, -1, -1)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    else:
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if bias is not None:
            # In place where it can be: the N x N logits are most of the memory traffic.
            same = logits.dtype == bias.dtype
            logits = logits.add_(bias) if same else logits + bias
        out = logits.softmax(dim=-1).to(value.dtype) @ value
    return out.transpose(1, 2).flatten(2)


def split_heads(qkv: Tensor, heads: int, tokens: int, contiguous: bool) -> tuple[Tensor, ...]:
    """(windows * tokens, 3 C) -> query, key, value, each (windows, heads, tokens, C / heads)."""
    cut = qkv.view(-1, tokens, 3, heads, qkv.shape[-1] // (3 * heads)).permute(2, 0, 3, 1, 4)
    return (cut.contiguous() if contiguous else cut).unbind(0)


def relative_position_index(window: Triple) -> Tensor:
    """(N, N) row of the bias table for each pair of tokens of a window, counted d, h, w."""
    d, h, w = window
    axes = (torch.arange(d), torch.arange(h), torch.arange(w))
    coords = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    delta = coords[:, :, None] - coords[:, None, :]
    plane = (delta[0] + d - 1) * (2 * h - 1) + delta[1] + h - 1
    return plane * (2 * w - 1) + delta[2] + w - 1


def sine_position_bias(height: int, width: int, channels: int) -> Tensor:
    """(1, height * width, channels) sine code of the place in a window, y channels first."""
    half = channels // 2
    i = torch.arange(half)
    period = 10000.0 ** (2 * (i // 2).float() / half)

    def encode(size: int) -> Tensor:
        place = torch.arange(1, size + 1).float() / (size + 1e-6) * (2 * math.pi)
        phase = place[:, None] / period
        return torch.where(i % 2 == 0, phase.sin(), phase.cos())

    y = encode(height)[:, None].expand(-1, width, -1)
    x = encode(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=-1).reshape(1, height * width, channels)


class WindowAttention(nn.Module):
    """Multi-head attention inside windows: self, and mutual between the two frames of a window."""

    relative_position_index: Tensor
    position_bias: Tensor

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.heads, self.mode = spec.heads, spec.attention
        d, h, w = spec.window
        rows = (2 * d - 1) * (2 * h - 1) * (2 * w - 1)
        self.relative_position_bias_table = nn.Parameter(torch.empty(rows, spec.heads))
        self.register_buffer("relative_position_index", relative_position_index(spec.window))
        self.qkv_self = nn.Linear(spec.dim, 3 * spec.dim, bias=spec.qkv_bias)
        self.qkv_mut: nn.Linear | None = None
        if spec.mutual:
            self.qkv_mut = nn.Linear(spec.dim, 3 * spec.dim, bias=spec.qkv_bias)
            self.register_buffer("position_bias", sine_position_bias(h, w, spec.dim))
        self.proj = nn.Linear(spec.dim * (2 if spec.mutual else 1), spec.dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, rows: Tensor, plan: WindowPlan) -> Tensor:
        """Attends inside every window.

        Args:
            rows: (windows * batch * N, C) tokens in the order of `plan`.
            plan: how the tokens were cut into windows.

        Returns:
            Tensor of the shape of `rows`.
        """
        fused = use_fused(self.mode, rows)
        out = self._self_attention(rows, plan, fused)
        if self.qkv_mut is not None:
            out = torch.cat([self._mutual_attention(rows, plan, fused), out], dim=-1)
        projected: Tensor = self.proj(out)
        return projected

    def _relative_bias(self, tokens: int) -> Tensor:
        """(heads, N, N); a smaller effective window reads the corner of the full one's index."""
        index = self.relative_position_index[:tokens, :tokens]
        # As an embedding, whose backward is quicker than that of advanced indexing.
        return F.embedding(index, self.relative_position_bias_table).permute(2, 0, 1)

    def _self_attention(self, rows: Tensor, plan: WindowPlan, fused: bool) -> Tensor:
        tokens = plan.tokens_per_window
        bias = self._relative_bias(tokens).contiguous()[None]
        outs = []
        for part, mask in _by_mask(self.qkv_self(rows), plan):
            q, k, v = split_heads(part, self.heads, tokens, contiguous=not fused)
            total = bias if mask is None else bias + _per_sequence(mask, q.shape[0])
            outs.append(attend(q, k, v, total, fused).flatten(0, 1))
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    def _mutual_attention(self, rows: Tensor, plan: WindowPlan, fused: bool) -> Tensor:
        """Queries of the second frame look at the first frame, and the other way round."""
        assert self.qkv_mut is not None
        tokens = plan.tokens_per_window
        half = tokens // 2
        place = self.position_bias.to(rows.dtype)
        placed = (rows.view(-1, half, rows.shape[-1]) + place).flatten(0, 1)
        outs = []
        for part, mask in _by_mask(self.qkv_mut(placed), plan):
            q, k, v = split_heads(part, self.heads, half, contiguous=not fused)
            q = q.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
            total = None
            if mask is not None:
                total = _per_sequence(mask[..., :half, :half], q.shape[0])
            outs.append(attend(q, k, v, total, fused).flatten(0, 1))
        return outs[0] if len(outs) == 1 else torch.cat(outs)


def _by_mask(rows: Tensor, plan: WindowPlan) -> list[tuple[Tensor, Tensor | None]]:
    """Splits window-major rows into runs that share a mask, so that no bias per window is built."""
    if len(plan.groups) == 1:
        return [(rows, plan.groups[0].mask)]
    total = sum(group.windows for group in plan.groups)
    per_window = rows.shape[0] // total
    parts = rows.split([group.windows * per_window for group in plan.groups])
    return [(part, group.mask) for part, group in zip(parts, plan.groups, strict=True)]


def _per_sequence(mask: Tensor, sequences: int) -> Tensor:
    """(1 | windows, N, N) -> (1 | sequences, 1, N, N); consecutive sequences share a window."""
    if mask.shape[0] > 1:
        mask = mask.repeat_interleave(sequences // mask.shape[0], dim=0)
    return mask[:, None]


class GatedMLP(nn.Module):
    """fc2(gelu(fc11(x)) * fc12(x)), GELU exact (GEGLU, arXiv 2002.05202)."""

    def __init__(self, channels: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc11 = nn.Linear(channels, hidden)
        self.fc12 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels if out is None else out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> (..., out)."""
        y: Tensor = self.fc2(F.gelu(self.fc11(x)) * self.fc12(x))
        return y


class DropPath(nn.Module):
    """Drops a residual branch for whole clips while training (arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> the same, each clip zeroed with probability `rate`, the rest scaled up."""
        if self.rate == 0.0 or not self.training:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * (keep.to(x.dtype) / (1.0 - self.rate))


class TransformerBlock(nn.Module):
    """Pre-norm window attention and gated MLP, each with a residual."""

    checkpoint_context: ContextFn | None = None

    def __init__(self, spec: BlockSpec, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.spec, self.shifted = spec, shifted
        self.norm1 = nn.LayerNorm(spec.dim)
        self.attn = WindowAttention(spec)
        self.norm2 = nn.LayerNorm(spec.dim)
        self.mlp = GatedMLP(spec.dim, int(spec.dim * spec.mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> the same shape."""
        x = x + self._run(self._attention_half, x, self.spec.checkpoint_attn)
        return x + self._run(self._mlp_half, x, self.spec.checkpoint_ffn)

    def _run(self, half: Callable[[Tensor], Tensor], x: Tensor, recompute: bool) -> Tensor:
        if not (recompute and torch.is_grad_enabled()):
            return half(x)
        # Only dropping paths draws random numbers, whose state costs a copy to keep.
        draws = self.training and self.drop_path.rate > 0.0
        return recomputed(half, x, draws=draws, context=self.checkpoint_context)

    def _attention_half(self, x: Tensor) -> Tensor:
        plan = window_plan(x.shape, self.spec.window, self.shifted, x.device)
        rows = self.attn(to_windows(self.norm1(x), plan), plan)
        out: Tensor = self.drop_path(to_tokens(rows, plan, x.shape))
        return out

    def _mlp_half(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop_path(self.mlp(self.norm2(x)))
        return out


class BlockGroup(nn.Module):
    """Consecutive blocks, every second one with shifted windows."""

    def __init__(self, spec: BlockSpec, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(TransformerBlock(spec, i % 2 == 1, rate) for i, rate in enumerate(drop_paths))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> the same shape."""
        out: Tensor = self.blocks(x)
        return out


class ReconstructionGroup(nn.Module):
    """Self-attention blocks, a linear layer and a residual: one group of stage 8."""

    def __init__(self, spec: BlockSpec, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.residual_group = BlockGroup(replace(spec, mutual=False), drop_paths)
        self.linear = nn.Linear(spec.dim, spec.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> the same shape."""
        out: Tensor = x + self.linear(self.residual_group(x))
        return out
