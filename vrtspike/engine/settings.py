"""What a configuration file may say about training (`TRAIN`, `LOSS`); needs no PyTorch."""

from dataclasses import dataclass, field
from typing import Literal

_MAX_TIMEOUT_S = 2_592_000.0
"""A longer wait is a mistake; beyond 292 years the clock's counter overflows."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """`TRAIN.OPTIM`: AdamW over all parameters."""

    type: Literal["adamw"] = "adamw"
    lr: float = 1.0e-4
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 1.0e-4

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr: must be positive, got {self.lr}")
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas: needs two values in [0, 1), got {list(self.betas)}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: must not be negative, got {self.weight_decay}")


@dataclass(frozen=True, kw_only=True)
class SchedConfig:
    """`TRAIN.SCHED`: linear warm-up over optimizer steps, then a cosine to `min_lr_ratio`."""

    type: Literal["cosine"] = "cosine"
    warmup_steps: int = 0
    min_lr_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps: must not be negative, got {self.warmup_steps}")
        if not 0.0 <= self.min_lr_ratio <= 1.0:
            raise ValueError(f"min_lr_ratio: must lie in [0, 1], got {self.min_lr_ratio}")


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """`TRAIN.DISTILLATION`: learn from a teacher's output; off without a checkpoint."""

    teacher_checkpoint: str | None = None
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight <= 1.0:
            raise ValueError(f"weight: must lie in [0, 1], got {self.weight}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """`TRAIN`: how the model is optimised.

    `batch_size` is per rank and micro-batch. `epochs` wins over `total_steps` when both are set.
    `amp_opt_level` O1 is PyTorch's autocast; `amp_dtype` auto takes bfloat16 where the GPU has it.
    `collective_timeout_s` is how long a rank waits for the others before the run ends.
    """

    batch_size: int = 1
    val_batch_size: int = 1
    epochs: int | None = None
    total_steps: int | None = None
    gradient_accumulation_steps: int = 1
    max_grad_norm: float = 1.0
    amp_enabled: bool = False
    amp_opt_level: Literal["O1"] = "O1"
    amp_dtype: Literal["auto", "fp16", "bf16"] = "auto"
    init_scale: float = 65536.0
    compile_model: bool = False
    resume_from_checkpoint: bool = False
    checkpoint_path: str | None = None
    collective_timeout_s: float = 600.0
    optim: OptimConfig = field(default_factory=OptimConfig)
    sched: SchedConfig = field(default_factory=SchedConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)

    def __post_init__(self) -> None:
        if self.epochs is None and self.total_steps is None:
            raise ValueError("epochs: either EPOCHS or TOTAL_STEPS must be set")
        for name in ("batch_size", "val_batch_size", "gradient_accumulation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}")
        for name in ("epochs", "total_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: must be at least 1, got {value}")
        for name in ("max_grad_norm", "init_scale", "collective_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be positive, got {getattr(self, name)}")
        if self.collective_timeout_s > _MAX_TIMEOUT_S:
            raise ValueError(
                f"collective_timeout_s: must be at most {_MAX_TIMEOUT_S:g} (30 days), "
                f"got {self.collective_timeout_s}"
            )


@dataclass(frozen=True, kw_only=True)
class CharbonnierConfig:
    """`LOSS.CHARBONNIER`: mean of sqrt(difference squared + delta squared)."""

    weight: float = 1.0
    delta: float = 1.0e-3

    def __post_init__(self) -> None:
        if self.delta <= 0:
            raise ValueError(f"delta: must be positive, got {self.delta}")


@dataclass(frozen=True, kw_only=True)
class PerceptualConfig:
    """`LOSS.VGG_PERCEPTUAL`: off at weight 0; reads VGG-16 weights from a file, never downloads."""

    weight: float = 0.0
    layers: tuple[str, ...] = ("relu3_3",)
    weights_path: str | None = None

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight: must not be negative, got {self.weight}")
        if self.weight > 0 and self.weights_path is None:
            raise ValueError(
                "weights_path: the perceptual loss needs a file of VGG-16 weights "
                "(nothing is downloaded); set it, or set WEIGHT to 0"
            )
        if self.weight > 0 and not self.layers:
            raise ValueError("layers: at least one is needed, or set WEIGHT to 0")
        known = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
        unknown = [layer for layer in self.layers if layer not in known]
        if unknown:
            raise ValueError(f"layers: unknown {unknown}; valid are {list(known)}")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """`LOSS`: the terms of the training loss."""

    charbonnier: CharbonnierConfig = field(default_factory=CharbonnierConfig)
    vgg_perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
