"""The largest tensors of each stage, by name and shape, for one batch; needs no PyTorch.

An allocation that fails says how much it asked for and not what for: this table gives that a name.
It lists what the layers allocate at once in the forward pass, each of which has a gradient of the
same size; every entry was found among the allocations of the network itself, by stage.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from vrtspike.model.cost_blocks import MLP_RATIO, BlockShape
from vrtspike.model.cost_terms import FLOAT_BYTES
from vrtspike.model.costs import (
    FLOW_SIDE_MULTIPLE,
    FLOW_WIDTHS,
    STAGE_SCALES,
    WARPED_CHANNELS,
    ClipShape,
    reconstruction_shapes,
    spike_scales,
    trunk_shape,
)
from vrtspike.model.settings import NUM_TRUNK_STAGES, ModelConfig

_OFFSETS_AND_MASK = 27
"""Two offsets and a mask for each of nine taps."""


@dataclass(frozen=True, kw_only=True)
class TensorSize:
    """One tensor that a stage allocates whole."""

    stage: str
    what: str
    shape: tuple[int, ...]
    width_bytes: int

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.width_bytes

    @property
    def name(self) -> str:
        """Stage, what it is, and its shape, on one line."""
        sides = "x".join(map(str, self.shape))
        return f"{self.stage}: {self.what} {sides}"


def tensor_sizes(model: ModelConfig, clip: ClipShape) -> list[TensorSize]:
    """The tensors of all stages, in the order the stages run."""
    found: list[TensorSize] = []
    if model.use_spike:
        found += _spike_branch(model, clip)
    found += _flow(clip)
    warped = (clip.batch, clip.frames, clip.height, clip.width, WARPED_CHANNELS)
    found.append(_float("vrt.input", "warped frames", warped))
    for number in range(1, NUM_TRUNK_STAGES + 1):
        found += _trunk(model, clip, number)
        if model.use_spike and number in model.fuse.scales:
            found += _fusion(model, clip, number)
    for shape in reconstruction_shapes(model, clip):
        found += _attention("vrt.stage8", shape, mutual=False)
        found.append(_hidden("vrt.stage8", shape, MLP_RATIO * shape.channels))
    return list(dict.fromkeys(found))


def _float(stage: str, what: str, shape: tuple[int, ...]) -> TensorSize:
    return TensorSize(stage=stage, what=what, shape=shape, width_bytes=FLOAT_BYTES)


def _trunk(model: ModelConfig, clip: ClipShape, number: int) -> Iterator[TensorSize]:
    stage, shape = f"vrt.stage{number}", trunk_shape(model, clip, number)
    yield from _attention(stage, shape, mutual=True)
    yield from _attention(stage, shape, mutual=False)
    yield _hidden(stage, shape, MLP_RATIO * shape.channels)
    yield _hidden(stage, shape, 3 * shape.channels)
    pairs = 2 * shape.batch * (shape.frames - 1)
    offsets = (pairs, _OFFSETS_AND_MASK * model.deform_groups, shape.height, shape.width)
    yield TensorSize(
        stage=stage,
        what="offsets of the deformable convolution",
        shape=offsets,
        width_bytes=shape.width_bytes,
    )


def _attention(stage: str, shape: BlockShape, *, mutual: bool) -> Iterator[TensorSize]:
    padded, inside = shape.windows(mutual)
    kind = "mutual attention" if mutual else "attention"
    if not shape.fused:  # the fused kernel keeps none; its bias has a gradient of this shape
        weights = (padded // inside, shape.heads, inside, inside)
        yield _float(stage, f"weights of {kind}", weights)
    yield TensorSize(
        stage=stage,
        what=f"queries, keys and values of {kind}",
        shape=(padded, 3 * shape.channels),
        width_bytes=shape.width_bytes,
    )


def _hidden(stage: str, shape: BlockShape, channels: int) -> TensorSize:
    return TensorSize(
        stage=stage,
        what="hidden features",
        shape=(shape.batch, shape.frames, shape.height, shape.width, channels),
        width_bytes=shape.width_bytes,
    )


def _flow(clip: ClipShape) -> Iterator[TensorSize]:
    """Of the finest level; the network works on whole multiples of its stride."""
    pairs = 2 * clip.batch * (clip.frames - 1)
    height, width = (
        math.ceil(side / FLOW_SIDE_MULTIPLE) * FLOW_SIDE_MULTIPLE
        for side in (clip.height, clip.width)
    )
    for channels in sorted({each for each in FLOW_WIDTHS if each >= 16}, reverse=True):
        yield _float("flow", "features", (pairs, channels, height, width))


def _spike_branch(model: ModelConfig, clip: ClipShape) -> Iterator[TensorSize]:
    width = 2 if clip.half else FLOAT_BYTES
    for number, scale in enumerate(spike_scales(model, clip), start=1):
        place = (clip.batch, scale.frames, scale.height, scale.width)
        yield TensorSize(
            stage="spike_encoder",
            what="three frames side by side",
            shape=(*place, 3 * scale.channels),
            width_bytes=width,
        )
        if number in model.fuse.scales:
            tokens = math.prod(place)
            hidden = int(scale.channels * model.spike_tsa.mlp_ratio)
            parts = (("queries, keys and values", 3 * scale.channels), ("hidden features", hidden))
            for what, channels in parts:
                yield TensorSize(
                    stage="temporal_attention",
                    what=what,
                    shape=(tokens, channels),
                    width_bytes=width,
                )


def _fusion(model: ModelConfig, clip: ClipShape, number: int) -> Iterator[TensorSize]:
    scale, shape = STAGE_SCALES[number - 1], trunk_shape(model, clip, number)
    place = (clip.batch, clip.frames, clip.height // scale, clip.width // scale)
    yield TensorSize(
        stage=f"fusion{number}",
        what="hidden features",
        shape=(*place, int(shape.channels * model.fuse.mlp_ratio)),
        width_bytes=shape.width_bytes,
    )
