"""Costs of the blocks of the network, by what autograd keeps of each.

`values x width` below counts what stays alive between forward and backward, a shared tensor once.
Under mixed precision products work on 2-byte values, while norms, softmax and sampling stay in
float32. Needs no PyTorch.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from vrtspike.model.cost_terms import (
    FLOAT_BYTES,
    Cost,
    convolution,
    kept,
    layer_norm,
    linear,
    total,
)
from vrtspike.model.settings import ChunkedAttentionConfig

MLP_RATIO = 2
TAPS = 9
RECOMPUTE_ABOVE_BYTES = 8 << 20
"""Sampled columns of one frame above this size are recomputed in the backward pass."""


class NumberFormat(Protocol):
    """How a clip is computed."""

    @property
    def half(self) -> bool: ...  # noqa: D102
    @property
    def fused(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """Tokens of one stage and the attention on them; `window` is (frames, height, width)."""

    batch: int
    frames: int
    height: int
    width: int
    channels: int
    heads: int
    window: tuple[int, int, int]
    half: bool
    fused: bool
    checkpoint_attn: bool
    checkpoint_ffn: bool

    @property
    def tokens(self) -> int:
        """Tokens of the batch."""
        return self.batch * self.frames * self.height * self.width

    @property
    def width_bytes(self) -> int:
        """Bytes of a value that goes into a product."""
        return 2 if self.half else FLOAT_BYTES

    def with_window_depth(self, depth: int) -> "BlockShape":
        """The same with windows of another depth in time."""
        return replace(self, window=(depth, *self.window[1:]))

    def windows(self, mutual: bool) -> tuple[int, int]:
        """(tokens with padding, tokens in a window) of the windows that fit this feature map."""
        configured = (2, *self.window[1:]) if mutual else self.window
        padded, inside = self.batch, 1
        for size, side in zip((self.frames, self.height, self.width), configured, strict=True):
            effective = min(size, side)
            padded *= -(-size // effective) * effective
            inside *= effective
        return padded, inside

    def table_rows(self, mutual: bool) -> int:
        """Rows of the table of relative positions; the configured window counts."""
        depth, height, width = (2, *self.window[1:]) if mutual else self.window
        return (2 * depth - 1) * (2 * height - 1) * (2 * width - 1)


def transformer_block(shape: BlockShape, *, mutual: bool) -> Cost:
    """Window attention and gated MLP, each pre-norm with a residual."""
    attention, mlp = _attention_half(shape, mutual), _mlp_half(shape)
    stream = shape.tokens * shape.channels * FLOAT_BYTES
    # The residual stream enters both halves; without checkpointing their norms keep it.
    if shape.checkpoint_attn:
        attention = attention.recomputed(0)
    if shape.checkpoint_ffn:
        mlp = mlp.recomputed(0)
    return attention + mlp + Cost(saved_bytes=2 * stream)


def _attention_half(shape: BlockShape, mutual: bool) -> Cost:
    c, width = shape.channels, shape.width_bytes
    padded, inside = shape.windows(mutual)
    parts = [
        layer_norm(shape.tokens, c),
        kept(padded * c, width),  # the norm's output in window order
        Cost(parameters=shape.table_rows(mutual) * shape.heads),
        linear(padded, c, 3 * c),
        _attention(shape, padded, inside),
        linear(padded, 2 * c if mutual else c, c),
        kept(padded * (2 * c if mutual else c), width),  # what the last projection reads
    ]
    if mutual:
        parts += [
            kept(padded * c, width),  # the same tokens with the place in the window added
            linear(padded, c, 3 * c),
            _attention(shape, padded, inside // 2, flipped=True),
        ]
    return total(parts)


def _attention(shape: BlockShape, padded: int, keys: int, flipped: bool = False) -> Cost:
    """Queries, keys, values, weights: `keys` logits for each token and head."""
    c, width = shape.channels, shape.width_bytes
    logits = padded * shape.heads * keys
    if shape.fused:
        # Queries, keys, values, the result and one number per row; the backward pass of the
        # kernel that takes a trainable bias writes a gradient for every logit.
        copies = 5 if flipped else 4
        saved = kept(padded * copies * c, width) + kept(padded * shape.heads)
        return saved + Cost(flops=4 * padded * keys * c, peak_bytes=logits * width)
    # Queries, keys and values together, the scaled queries, and the softmax (float32, beside a
    # copy of it for the product under mixed precision).
    saved = kept(padded * 4 * c, width) + kept(logits)
    if shape.half:
        saved += kept(logits, width)
    # Gradients of the weights and of the logits exist at the same time.
    return saved + Cost(flops=4 * padded * keys * c, peak_bytes=2 * logits * FLOAT_BYTES)


def _mlp_half(shape: BlockShape) -> Cost:
    c = shape.channels
    parts = [layer_norm(shape.tokens, c), gated_mlp(shape, c, MLP_RATIO * c, c)]
    return total(parts)


def inference_moment(shape: BlockShape, groups: int | None) -> int:
    """Bytes alive at once in the hungriest part of a stage when no gradient is wanted.

    `groups` are the deformable groups of a stage that aligns frames, None for stage 8.
    """
    lean = replace(shape, checkpoint_attn=False, checkpoint_ffn=False)
    moments = []
    for mutual in (True, False) if groups else (False,):
        block = _attention_half(lean, mutual)
        # Logits and softmax together are two of the three that training needs.
        moments.append(block.saved_bytes + (0 if shape.fused else block.peak_bytes // 2))
    moments.append(_mlp_half(lean).saved_bytes)
    if groups:
        aligned = deformable_alignment(replace(lean, half=False), groups)
        moments.append(aligned.saved_bytes + aligned.peak_bytes)
    return max(moments)


def gated_mlp(shape: BlockShape, inner: int, hidden: int, outer: int) -> Cost:
    """fc2(gelu(fc11(x)) * fc12(x)): keeps its input, both branches, the GELU and the product."""
    tokens, width = shape.tokens, shape.width_bytes
    layers = linear(tokens, inner, hidden).times(2) + linear(tokens, hidden, outer)
    return layers + kept(tokens * (inner + 4 * hidden), width)


def reshape_entry(shape: BlockShape, before: int, kind: str) -> Cost:
    """Change of resolution at the entry of a stage; `before` is the channel count it comes from."""
    c = shape.channels
    if kind == "none":
        return layer_norm(shape.tokens, c) + kept(shape.tokens * c)
    inner = 4 * before if kind == "down" else before // 4
    parts = [
        layer_norm(shape.tokens, inner) + kept(shape.tokens * inner),
        linear(shape.tokens, inner, c) + kept(shape.tokens * inner, shape.width_bytes),
    ]
    return total(parts)


def deformable_alignment(shape: BlockShape, groups: int) -> Cost:
    """Both neighbours of every frame aligned, then mixed with it by a gated MLP."""
    c, width = shape.channels, shape.width_bytes
    frames = 2 * shape.batch * (shape.frames - 1)
    pixels = frames * shape.height * shape.width
    offsets = [
        convolution(pixels, 2 * c + 2, c, TAPS) + kept(pixels * (2 * c + 2), width),
        (convolution(pixels, c, c, TAPS) + kept(pixels * 2 * c, width)).times(2),
        convolution(pixels, c, 3 * TAPS * groups, TAPS) + kept(pixels * 2 * c, width),
    ]
    product = Cost(parameters=TAPS * c * c + c, flops=2 * pixels * TAPS * c * c)
    # In float32: the source, the flow's grid, tanh of the offsets, the offsets and the masks.
    sampling = kept(pixels * (c + 2 + (18 + 18 + 9) * groups))
    column_bytes = TAPS * c * shape.height * shape.width * FLOAT_BYTES
    columns = kept(2 * frames * TAPS * c * shape.height * shape.width)
    if column_bytes > RECOMPUTE_ABOVE_BYTES:
        columns = Cost(peak_bytes=3 * column_bytes)
    fuse = gated_mlp(shape, 3 * c, 3 * c, c)
    return total([*offsets, product, sampling, columns, fuse])


def spike_convolution(
    positions: int, read_positions: int, channels: tuple[int, int], width: int
) -> Cost:
    """A 3x3x3 convolution and a ReLU.

    It is computed over three neighbouring frames side by side, which are kept in that form at the
    `read_positions` of its input, as are the weights; the ReLU keeps its result.
    """
    inner, outer = channels
    values = read_positions * 3 * inner + positions * outer + 27 * inner * outer
    return convolution(positions, inner, outer, 27) + kept(values, width)


def spike_residuals(positions: int, channels: int, width: int) -> Cost:
    """Two residual blocks of two convolutions each."""
    return spike_convolution(positions, positions, (channels, channels), width).times(4)


def temporal_block(
    tokens: int, frames: int, channels: int, config: ChunkedAttentionConfig, form: NumberFormat
) -> Cost:
    """Self attention over time for every pixel, and a feed-forward layer."""
    width = 2 if form.half else FLOAT_BYTES
    # In float32 the first norm reads what the encoder's last ReLU keeps anyway.
    streams = 2 if form.half else 1
    parts = [
        layer_norm(tokens, channels).times(2),
        kept(tokens * streams * channels),
        kept(tokens * 2 * channels, width),
        _time_attention(tokens, frames, channels, config, form),
        kept(tokens * (1 if form.fused else 2) * channels, width),
        feed_forward(tokens, channels, config, width),
    ]
    return total(parts)


def fusion_block(
    tokens: int, frames: int, channels: int, config: ChunkedAttentionConfig, form: NumberFormat
) -> Cost:
    """Cross attention over time from RGB to spike features, and a feed-forward layer."""
    width = 2 if form.half else FLOAT_BYTES
    parts = [
        layer_norm(tokens, channels).times(3),
        kept(tokens * 3 * channels),
        kept(tokens * 3 * channels, width),
        _time_attention(tokens, frames, channels, config, form),
        kept(tokens * channels, width),
        feed_forward(tokens, channels, config, width),
    ]
    return total(parts)


def _time_attention(
    tokens: int, frames: int, channels: int, config: ChunkedAttentionConfig, form: NumberFormat
) -> Cost:
    """Projections, and the sums over the frames that each frame looks at."""
    width = 2 if form.half else FLOAT_BYTES
    projections = linear(tokens, channels, 3 * channels) + linear(tokens, channels, channels)
    sums = Cost(flops=4 * tokens * frames * channels)
    if form.fused:
        saved = kept(tokens * 4 * channels, width) + kept(tokens * config.heads)
    else:
        # Keys and values, the scaled queries, and a weight for each frame and head.
        saved = kept(tokens * 3 * channels, width) + kept(tokens * frames * config.heads)
    return projections + sums + saved


def feed_forward(tokens: int, channels: int, config: ChunkedAttentionConfig, width: int) -> Cost:
    """Linear, GELU, linear: keeps both sides of the GELU."""
    hidden = int(channels * config.mlp_ratio)
    layers = linear(tokens, channels, hidden) + linear(tokens, hidden, channels)
    return layers + kept(tokens * 2 * hidden, width)
