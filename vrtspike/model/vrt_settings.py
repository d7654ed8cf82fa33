"""Constructor arguments of VRT, checked; needs no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from vrtspike.errors import ModelError
from vrtspike.model.settings import NUM_TRUNK_STAGES, ModelConfig

FLOW_MIN_SIDE = 33  # below, SpyNet's coarsest level has a single pixel
SIDE_MULTIPLE = 8


@dataclass(frozen=True, kw_only=True)
class VRTSettings:
    """Arguments under the names of the released VRT configurations.

    Defaults are those of the official constructor, except `upscale`: this network restores at the
    resolution of its input.

    Attributes:
        upscale: only 1.
        in_chans: input channels; only 3 (flow is estimated on RGB).
        out_chans: output channels.
        img_size: nominal (T, H, W); accepted for compatibility, any legal size runs.
        window_size: attention window (frames, height, width).
        depths: blocks of stages 1-7, then of each group of stage 8.
        indep_reconsts: indices into `depths` of the stage-8 groups that attend within one frame.
        embed_dims: channels, one entry per entry of `depths`.
        num_heads: attention heads, likewise.
        mul_attn_ratio: share of a stage's blocks with mutual attention.
        mlp_ratio: hidden width of the gated MLPs over the channels.
        qkv_bias: bias in the query, key and value projections.
        drop_path_rate: rate of the last block; grows linearly from 0.
        pa_frames: only 2, one neighbour on each side.
        deformable_groups: groups of the deformable convolution.
        use_checkpoint_attn: recompute attention in the backward pass.
        use_checkpoint_ffn: recompute MLPs in the backward pass.
    """

    upscale: int = 1
    in_chans: int = 3
    out_chans: int = 3
    img_size: Sequence[int] = (6, 64, 64)
    window_size: Sequence[int] = (6, 8, 8)
    depths: Sequence[int] = (8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4)
    indep_reconsts: Sequence[int] = (11, 12)
    embed_dims: Sequence[int] = (120,) * 7 + (180,) * 6
    num_heads: Sequence[int] = (6,) * 13
    mul_attn_ratio: float = 0.75
    mlp_ratio: float = 2.0
    qkv_bias: bool = True
    drop_path_rate: float = 0.2
    pa_frames: int = 2
    deformable_groups: int = 16
    use_checkpoint_attn: bool = False
    use_checkpoint_ffn: bool = False

    @classmethod
    def from_kwargs(cls, kwargs: dict[str, Any]) -> "VRTSettings":
        """Settings from keyword arguments.

        Raises:
            ModelError: an argument that VRT does not have, or a value it cannot have.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(kwargs) - known)
        if unknown:
            raise ModelError(
                f"VRT has no argument {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        return cls(**kwargs)

    def __post_init__(self) -> None:
        self._check_fixed()
        count = len(self.depths)
        if count <= NUM_TRUNK_STAGES or min(self.depths) < 1:
            raise ModelError(
                "depths needs 7 positive stage depths and one for each group of stage 8, "
                f"got {list(self.depths)}"
            )
        for name in ("embed_dims", "num_heads"):
            if len(getattr(self, name)) != count:
                raise ModelError(
                    f"{name} has {len(getattr(self, name))} entries, depths has {count}"
                )
        if len(self.window_size) != 3 or min(self.window_size) < 1:
            raise ModelError(f"window_size needs 3 positive values, got {list(self.window_size)}")
        self._check_channels()

    def _check_fixed(self) -> None:
        for name, only in (("upscale", 1), ("in_chans", 3), ("out_chans", 3), ("pa_frames", 2)):
            if getattr(self, name) != only:
                raise ModelError(f"VRT is built with {name} {only} only, got {getattr(self, name)}")

    def _check_channels(self) -> None:
        dims = self.embed_dims
        for i, (dim, heads) in enumerate(zip(dims, self.num_heads, strict=True)):
            if heads < 1 or dim % heads:
                raise ModelError(
                    f"num_heads[{i}] = {heads} does not divide embed_dims[{i}] = {dim}"
                )
        for i, dim in enumerate(dims[:NUM_TRUNK_STAGES]):
            if dim % 4:
                raise ModelError(f"embed_dims[{i}] = {dim} is not divisible by 4")
            if self.deformable_groups < 1 or dim % self.deformable_groups:
                raise ModelError(
                    f"deformable_groups {self.deformable_groups} does not divide "
                    f"embed_dims[{i}] = {dim}"
                )
        for deep, early in ((4, 2), (5, 1), (6, 0)):
            if dims[deep] != dims[early]:
                raise ModelError(
                    f"embed_dims[{deep}] = {dims[deep]} must equal embed_dims[{early}] = "
                    f"{dims[early]}: stage {deep + 1} and stage {early + 1} are added"
                )
        if len(set(dims[NUM_TRUNK_STAGES:])) > 1:
            raise ModelError(
                f"stage 8 keeps its channels, got embed_dims {list(dims[NUM_TRUNK_STAGES:])}"
            )

    def mutual_depth(self, stage: int) -> int:
        """Blocks with mutual attention in stage 1..7; the rest of its depth only self-attends."""
        return int(self.depths[stage - 1] * self.mul_attn_ratio)

    def block_window(self, index: int) -> tuple[int, int, int]:
        """Self-attention window of entry `index` of `depths`."""
        d, h, w = self.window_size
        return (
            (1, h, w) if index in self.indep_reconsts and index >= NUM_TRUNK_STAGES else (d, h, w)
        )

    def check_clip(self, shape: Sequence[int]) -> None:
        """Checks the shape of an input clip.

        Args:
            shape: (B, T, C, H, W).

        Raises:
            ModelError: naming the value and the limit.
        """
        if len(shape) != 5 or shape[2] != self.in_chans:
            raise ModelError(
                f"VRT expects (batch, frames, {self.in_chans}, height, width), got {tuple(shape)}"
            )
        if shape[1] < 2:
            raise ModelError(f"VRT needs at least 2 frames in a clip, got {shape[1]}")
        for name, side, window in zip(
            ("height", "width"), shape[3:], self.window_size[1:], strict=True
        ):
            least = max(FLOW_MIN_SIDE, SIDE_MULTIPLE * window)
            least = -(-least // SIDE_MULTIPLE) * SIDE_MULTIPLE
            if side % SIDE_MULTIPLE or side < least:
                raise ModelError(
                    f"{name} {side}: must be divisible by {SIDE_MULTIPLE} and at least {least} "
                    f"(window {window}; stage 4 works at 1/8 of it)"
                )


def vrt_arguments(model: ModelConfig, clip_len: int, crop_size: int) -> dict[str, Any]:
    """Arguments of VRT: the four channel counts, the last one repeated for all later entries."""
    count = len(model.vrt_depths)
    window = model.window_size
    channels = model.channels_per_scale
    return {
        "img_size": (clip_len, crop_size, crop_size),
        "window_size": (clip_len, window, window) if isinstance(window, int) else window,
        "depths": model.vrt_depths,
        "indep_reconsts": [i for i in (11, 12) if i < count],
        "embed_dims": (*channels, *(channels[-1],) * (count - len(channels))),
        "num_heads": (model.num_heads,) * count,
        "drop_path_rate": model.drop_path_rate,
        "deformable_groups": model.deform_groups,
        "use_checkpoint_attn": model.vrt.use_checkpoint_attn,
        "use_checkpoint_ffn": model.vrt.use_checkpoint_ffn,
    }


def check_network(model: ModelConfig, clip_len: int, crop_size: int) -> None:
    """Whether the network can be built and takes the training crop; builds nothing.

    Args:
        model: network settings.
        clip_len: frames per clip.
        crop_size: side of the training crop in pixels.

    Raises:
        ModelError: settings that do not fit each other or the crop.
    """
    settings = VRTSettings.from_kwargs(vrt_arguments(model, clip_len, crop_size))
    settings.check_clip((1, clip_len, settings.in_chans, crop_size, crop_size))
