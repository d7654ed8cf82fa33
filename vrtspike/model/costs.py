"""What the network costs by stage: parameters, FLOPs and memory for the backward pass.

Exact for parameters. FLOPs count matrix products, convolutions and the sums over frames of the
temporal attention. Saved bytes follow what autograd keeps of this network's own layers: counted
with PyTorch 2.13 in float32 with explicit attention, with and without checkpointing, they agree
within 2 % for every stage and 1 % for the whole network, small or full-size; the peak of live
tensors in a training step was within 4 % of saved and transient bytes together. Fused attention
and mixed precision follow the rules of PyTorch's CUDA kernels and are not measured yet.
Needs no PyTorch, so that a run can be forecast before it starts.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from vrtspike.model.cost_blocks import (
    BlockShape,
    deformable_alignment,
    fusion_block,
    inference_moment,
    reshape_entry,
    spike_convolution,
    spike_residuals,
    temporal_block,
    transformer_block,
)
from vrtspike.model.cost_terms import (
    FLOAT_BYTES,
    Cost,
    convolution,
    kept,
    layer_norm,
    linear,
    total,
)
from vrtspike.model.settings import NUM_TRUNK_STAGES, ModelConfig

STAGE_SCALES = (1, 2, 4, 8, 4, 2, 1)
_RESHAPES = ("none", "down", "down", "down", "up", "up", "up")
_MUTUAL_SHARE = 0.75
FLOW_WIDTHS = (8, 32, 64, 32, 16, 2)
_FLOW_LEVELS = 6
_FLOW_TAPS = 49
FLOW_SIDE_MULTIPLE = 32
# Of a pixel of one pyramid level: what the convolutions keep, the warped image, its grid and the
# coarser flow.
_FLOW_KEPT_VALUES = 8 + (32 + 64 + 32 + 16) + 3 + 2 + 2
WARPED_CHANNELS = 27
_MAX_FRAME_WINDOW_INDICES = (11, 12)


@dataclass(frozen=True, kw_only=True)
class ClipShape:
    """One batch as it enters the network, and how it is computed.

    `height` and `width` are in RGB pixels, `spike_height` and `spike_width` in spike pixels.
    `half` is mixed precision; `fused` is the fused attention kernel.
    """

    batch: int
    frames: int
    height: int
    width: int
    spike_height: int
    spike_width: int
    bins: int
    half: bool = False
    fused: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of all frames of the batch."""
        return self.batch * self.frames * self.height * self.width


def stage_costs(model: ModelConfig, clip: ClipShape) -> dict[str, Cost]:
    """Cost of one forward pass by stage, in the order the stages run."""
    stages: dict[str, Cost] = {}
    if model.use_spike:
        stages["spike_encoder"] = _spike_encoder(model, clip)
        stages["temporal_attention"] = _temporal_attention(model, clip)
    stages["flow"] = _flow(clip)
    stages["vrt.input"] = _input(model, clip)
    for number in range(1, NUM_TRUNK_STAGES + 1):
        stages[f"vrt.stage{number}"] = _trunk_stage(model, clip, number)
        if model.use_spike and number in model.fuse.scales:
            stages[f"fusion{number}"] = _fusion(model, clip, number)
    stages["vrt.stage8"] = _reconstruction(model, clip)
    stages["vrt.output"] = _output(model, clip)
    return stages


def total_cost(model: ModelConfig, clip: ClipShape) -> Cost:
    """Cost of the whole network; `peak_bytes` is the largest transient of any stage."""
    return total(stage_costs(model, clip).values())


def inference_bytes(model: ModelConfig, clip: ClipShape) -> int:
    """Memory beside the weights when nothing is kept for a backward pass; an estimate.

    The largest moment of any stage, and the features that skip connections hold meanwhile. Live
    tensors of two CPU runs were within 13 % of it.
    """
    width = clip.pixels * max(model.channels_per_scale) * FLOAT_BYTES
    moments = [0]
    for index, scale in enumerate((*STAGE_SCALES, 1)):
        shape = _block_shape(model, clip, _channels(model, index), scale)
        groups = model.deform_groups if index < NUM_TRUNK_STAGES else None
        moments.append(inference_moment(shape, groups))
    skips = 3 if not model.use_spike else 5
    return max(moments) + skips * width


def parameter_count(model: ModelConfig, clip_len: int, bins: int) -> int:
    """Trainable parameters of the network; they depend on the clip length and on the bins."""
    least = ClipShape(
        batch=1,
        frames=clip_len,
        height=64,
        width=64,
        spike_height=32,
        spike_width=32,
        bins=bins,
    )
    return total_cost(model, least).parameters


def _channels(model: ModelConfig, index: int) -> int:
    """Channels of entry `index` of the depths: the last of the four holds for all later ones."""
    return model.channels_per_scale[min(index, len(model.channels_per_scale) - 1)]


def _window(model: ModelConfig, clip: ClipShape) -> tuple[int, int, int]:
    """The self-attention window; its depth is the clip's when one number is configured."""
    if isinstance(model.window_size, int):
        return clip.frames, model.window_size, model.window_size
    depth, height, width = model.window_size
    return depth, height, width


def _block_shape(model: ModelConfig, clip: ClipShape, channels: int, scale: int) -> BlockShape:
    return BlockShape(
        batch=clip.batch,
        frames=clip.frames,
        height=clip.height // scale,
        width=clip.width // scale,
        channels=channels,
        heads=model.num_heads,
        window=_window(model, clip),
        half=clip.half,
        fused=clip.fused,
        checkpoint_attn=model.vrt.use_checkpoint_attn,
        checkpoint_ffn=model.vrt.use_checkpoint_ffn,
    )


def trunk_shape(model: ModelConfig, clip: ClipShape, number: int) -> BlockShape:
    """The tokens of one of the stages 1 to 7."""
    channels = _channels(model, number - 1)
    return _block_shape(model, clip, channels, STAGE_SCALES[number - 1])


def _trunk_stage(model: ModelConfig, clip: ClipShape, number: int) -> Cost:
    index, shape = number - 1, trunk_shape(model, clip, number)
    channels = shape.channels
    mutual = int(model.vrt_depths[index] * _MUTUAL_SHARE)
    single = model.vrt_depths[index] - mutual
    mixing = linear(shape.tokens, channels, channels) + kept(
        shape.tokens * channels, shape.width_bytes
    )
    parts = [
        reshape_entry(shape, _channels(model, max(index - 1, 0)), _RESHAPES[index]),
        transformer_block(shape, mutual=True).times(mutual),
        mixing,
        transformer_block(shape, mutual=False).times(single),
        mixing,
        deformable_alignment(shape, model.deform_groups),
    ]
    return total(parts)


def reconstruction_shapes(model: ModelConfig, clip: ClipShape) -> Iterator[BlockShape]:
    """The tokens of each group of stage 8; some look at one frame at a time."""
    shape = _block_shape(model, clip, _channels(model, NUM_TRUNK_STAGES), 1)
    for index in range(NUM_TRUNK_STAGES, len(model.vrt_depths)):
        depth = 1 if index in _MAX_FRAME_WINDOW_INDICES else shape.window[0]
        yield shape.with_window_depth(depth)


def _reconstruction(model: ModelConfig, clip: ClipShape) -> Cost:
    """Stage 8: entry, then one group of self attention for each further depth."""
    before, channels = _channels(model, NUM_TRUNK_STAGES - 1), _channels(model, NUM_TRUNK_STAGES)
    shape = _block_shape(model, clip, channels, 1)
    entry = layer_norm(shape.tokens, before) + linear(shape.tokens, before, channels)
    entry += kept(shape.tokens * before) + kept(shape.tokens * before, shape.width_bytes)
    parts = [entry]
    groups = reconstruction_shapes(model, clip)
    for index, group in enumerate(groups, start=NUM_TRUNK_STAGES):
        parts.append(transformer_block(group, mutual=False).times(model.vrt_depths[index]))
        parts.append(linear(shape.tokens, channels, channels))
        parts.append(kept(shape.tokens * channels, shape.width_bytes))
    return total(parts)


def _flow(clip: ClipShape) -> Cost:
    pairs = 2 * clip.batch * (clip.frames - 1)
    height, width = (
        math.ceil(side / FLOW_SIDE_MULTIPLE) * FLOW_SIDE_MULTIPLE
        for side in (clip.height, clip.width)
    )
    parts = []
    for level in range(_FLOW_LEVELS):
        pixels = pairs * (height >> level) * (width >> level)
        parts += [convolution(pixels, a, b, _FLOW_TAPS) for a, b in pairwise(FLOW_WIDTHS)]
        parts.append(kept(pixels * _FLOW_KEPT_VALUES))
    return total(parts)


def _input(model: ModelConfig, clip: ClipShape) -> Cost:
    first = convolution(clip.pixels, WARPED_CHANNELS, _channels(model, 0), 9)
    return first + kept(clip.pixels * WARPED_CHANNELS, 2 if clip.half else FLOAT_BYTES)


def _output(model: ModelConfig, clip: ClipShape) -> Cost:
    last, first = _channels(model, len(model.vrt_depths) - 1), _channels(model, 0)
    width = 2 if clip.half else FLOAT_BYTES
    parts = [
        layer_norm(clip.pixels, last) + kept(clip.pixels * last),
        linear(clip.pixels, last, first) + kept(clip.pixels * last, width),
        convolution(clip.pixels, first, 3, 9) + kept(clip.pixels * first, width),
    ]
    return total(parts)


@dataclass(frozen=True)
class SpikeScale:
    """Features of one scale of the spike branch."""

    channels: int
    frames: int
    height: int
    width: int

    @property
    def positions(self) -> int:
        """Places of one clip."""
        return self.frames * self.height * self.width


def spike_scales(model: ModelConfig, clip: ClipShape) -> Iterator[SpikeScale]:
    """The scales that are built: none beyond the last one fused."""
    encoder = model.spike_encoder
    size = (clip.frames, clip.spike_height, clip.spike_width)
    for index in range(max(model.fuse.scales, default=0)):
        if index:
            time, space = encoder.temporal_strides[index - 1], encoder.spatial_strides[index - 1]
            size = (-(-size[0] // time), -(-size[1] // space), -(-size[2] // space))
        yield SpikeScale(model.channels_per_scale[index], *size)


def _spike_encoder(model: ModelConfig, clip: ClipShape) -> Cost:
    width = 2 if clip.half else FLOAT_BYTES
    parts: list[Cost] = []
    before: SpikeScale | None = None
    for scale in spike_scales(model, clip):
        at, inner = (scale, clip.bins) if before is None else (before, before.channels)
        stride = 1 if before is None else model.spike_encoder.temporal_strides[len(parts) // 2 - 1]
        parts.append(
            spike_convolution(
                clip.batch * scale.positions,
                clip.batch * at.positions // stride,
                (inner, scale.channels),
                width,
            )
        )
        parts.append(spike_residuals(clip.batch * scale.positions, scale.channels, width))
        before = scale
    return total(parts)


def _temporal_attention(model: ModelConfig, clip: ClipShape) -> Cost:
    parts = [
        temporal_block(
            clip.batch * scale.positions, scale.frames, scale.channels, model.spike_tsa, clip
        )
        for number, scale in enumerate(spike_scales(model, clip), start=1)
        if number in model.fuse.scales
    ]
    return total(parts)


def _fusion(model: ModelConfig, clip: ClipShape, number: int) -> Cost:
    scale = STAGE_SCALES[number - 1]
    pixels = (clip.height // scale) * (clip.width // scale)
    tokens = clip.batch * clip.frames * pixels
    return fusion_block(tokens, clip.frames, _channels(model, number - 1), model.fuse, clip)
