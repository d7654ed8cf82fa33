"""What a configuration file may say about the network (`MODEL`); needs no PyTorch."""

from dataclasses import dataclass, field
from typing import Literal

Attention = Literal["auto", "explicit", "fused"]
ChunkShape = Literal["square", "wide", "tall"]

NUM_TRUNK_STAGES = 7
NUM_FUSION_SCALES = 4
MAX_MLP_RATIO = 64


@dataclass(frozen=True, kw_only=True)
class CheckpointingConfig:
    """`MODEL.VRT`: activation checkpointing of the two halves of every transformer block."""

    use_checkpoint_attn: bool = False
    use_checkpoint_ffn: bool = False


@dataclass(frozen=True, kw_only=True)
class SpikeEncoderConfig:
    """`MODEL.SPIKE_ENCODER`: strides of the three down-sampling steps."""

    temporal_strides: tuple[int, ...] = (1, 1, 1)
    spatial_strides: tuple[int, ...] = (2, 2, 2)

    def __post_init__(self) -> None:
        for name in ("temporal_strides", "spatial_strides"):
            strides = getattr(self, name)
            if len(strides) != 3 or min(strides, default=0) < 1:
                raise ValueError(f"{name}: needs three positive integers, got {list(strides)}")


@dataclass(frozen=True, kw_only=True)
class ChunkedAttentionConfig:
    """`MODEL.SPIKE_TSA`: attention over time per pixel, computed in spatial chunks.

    `max_batch_tokens` caps batch x chunk height x chunk width (pixel sequences, whatever their
    length in time); `chunk_size` squared caps the area of a chunk.
    """

    heads: int = 4
    dropout: float = 0.0
    mlp_ratio: float = 2.0
    adaptive_chunk: bool = False
    max_batch_tokens: int = 49152
    chunk_size: int = 64
    chunk_shape: ChunkShape = "square"

    def __post_init__(self) -> None:
        for name in ("heads", "max_batch_tokens", "chunk_size", "mlp_ratio"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be positive, got {getattr(self, name)}")
        if self.mlp_ratio > MAX_MLP_RATIO:
            raise ValueError(f"mlp_ratio: must be at most {MAX_MLP_RATIO}, got {self.mlp_ratio}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout: must lie in [0, 1), got {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class FuseConfig(ChunkedAttentionConfig):
    """`MODEL.FUSE`: cross attention of RGB to spikes; `scales` are the stages it follows."""

    scales: tuple[int, ...] = (1, 2, 3, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = set(range(1, NUM_FUSION_SCALES + 1))
        if not set(self.scales) <= allowed or len(set(self.scales)) != len(self.scales):
            raise ValueError(f"scales: needs distinct stages out of 1..4, got {list(self.scales)}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """`MODEL`: the whole VRT-Spike network.

    `vrt_depths` holds seven stage depths and one depth for each group of stage 8. An integer
    `window_size` w stands for the window [clip length, w, w].
    """

    use_spike: bool = True
    channels_per_scale: tuple[int, ...] = (96, 96, 96, 96)
    vrt_depths: tuple[int, ...] = (8, 8, 8, 8, 4, 4, 4, 8)
    window_size: int | tuple[int, ...] = 8
    num_heads: int = 6
    deform_groups: int = 16
    drop_path_rate: float = 0.2
    pretrained_flow: str | None = None
    attention: Attention = "auto"
    vrt: CheckpointingConfig = field(default_factory=CheckpointingConfig)
    spike_encoder: SpikeEncoderConfig = field(default_factory=SpikeEncoderConfig)
    spike_tsa: ChunkedAttentionConfig = field(default_factory=ChunkedAttentionConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)

    def __post_init__(self) -> None:
        if len(self.channels_per_scale) != NUM_FUSION_SCALES:
            raise ValueError(
                f"channels_per_scale: needs 4 values, got {list(self.channels_per_scale)}"
            )
        if min(self.channels_per_scale) < 1:
            raise ValueError(
                f"channels_per_scale: must be positive, got {list(self.channels_per_scale)}"
            )
        if len(self.vrt_depths) <= NUM_TRUNK_STAGES:
            raise ValueError(
                "vrt_depths: needs 7 stage depths and at least one for stage 8, "
                f"got {len(self.vrt_depths)} values"
            )
        if min(self.vrt_depths) < 1:
            raise ValueError(f"vrt_depths: depths must be positive, got {list(self.vrt_depths)}")
        window = self.window_size
        if min(window if isinstance(window, tuple) else (window,), default=0) < 1:
            raise ValueError(f"window_size: must be positive, got {window}")
        if isinstance(self.window_size, tuple) and len(self.window_size) != 3:
            raise ValueError(f"window_size: needs one or three integers, got {self.window_size}")
        if not 0.0 <= self.drop_path_rate < 1.0:
            raise ValueError(f"drop_path_rate: must lie in [0, 1), got {self.drop_path_rate}")
        self._check_channels()

    def _check_channels(self) -> None:
        for channels in self.channels_per_scale:
            for name, divisor in (
                ("num_heads", self.num_heads),
                ("deform_groups", self.deform_groups),
                ("spike_tsa.heads", self.spike_tsa.heads),
                ("fuse.heads", self.fuse.heads),
            ):
                if divisor < 1 or channels % divisor:
                    raise ValueError(
                        f"{name}: {divisor} does not divide the {channels} channels of "
                        "channels_per_scale"
                    )
