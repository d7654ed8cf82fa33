"""Mixed precision: which type the forward runs in, and the scaling of float16 gradients."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch.amp.grad_scaler import GradScaler

from vrtspike.engine.settings import TrainConfig


@dataclass(frozen=True)
class Precision:
    """`half` is the type of the autocast, None for float32; `note` is one line for the log.

    The scaler is disabled, and then the identity, unless `half` is float16.
    """

    device: torch.device
    half: torch.dtype | None
    scaler: GradScaler
    note: str

    @property
    def is_fp16(self) -> bool:
        """Whether an overflow is the scaler's normal business."""
        return self.half is torch.float16

    def autocast(self) -> AbstractContextManager[None]:
        """Around the forward and the loss."""
        enabled = self.half is not None
        context: AbstractContextManager[None] = torch.autocast(
            self.device.type, dtype=self.half, enabled=enabled
        )
        return context


def choose_precision(
    settings: TrainConfig, device: torch.device, *, bf16_supported: bool | None = None
) -> Precision:
    """What `TRAIN.AMP_*` means on this device.

    Args:
        settings: the training section.
        device: where the model is.
        bf16_supported: replaces the question put to the GPU.
    """
    if not settings.amp_enabled:
        return _full(device, "[amp] off: float32")
    if device.type != "cuda":
        return _full(device, "[amp] off on the CPU: float32 (TRAIN.AMP_ENABLED needs a GPU)")
    known = torch.cuda.is_bf16_supported() if bf16_supported is None else bf16_supported
    if settings.amp_dtype == "fp16" or (settings.amp_dtype == "auto" and not known):
        scaler = GradScaler(device.type, init_scale=settings.init_scale)
        note = f"[amp] float16 with gradient scaling from {settings.init_scale:g}"
        return Precision(device, torch.float16, scaler, note)
    note = "[amp] bfloat16" if known else "[amp] bfloat16, emulated by this GPU (slow)"
    return Precision(device, torch.bfloat16, GradScaler(device.type, enabled=False), note)


def _full(device: torch.device, note: str) -> Precision:
    return Precision(device, None, GradScaler(device.type, enabled=False), note)
