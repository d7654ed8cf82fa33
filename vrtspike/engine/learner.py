"""What learns: the model with its loss, optimizer and precision, one verb for each phase."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vrtspike.data.lean import on_device
from vrtspike.engine.batch_stream import Batch
from vrtspike.engine.clip_model import Clips, call_model
from vrtspike.engine.losses import LossValue, TrainingLoss
from vrtspike.engine.optim import set_learning_rate
from vrtspike.engine.precision import Precision


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model in training.

    `model` is the bare model, `network` the same one or its DistributedDataParallel wrapper.
    """

    model: nn.Module
    network: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    loss: TrainingLoss
    teacher: Callable[[Clips], Tensor] | None = None
    use_spike: bool = True
    accumulation: int = 1
    max_grad_norm: float = 1.0

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.precision.device

    def to_device(self, batch: Batch) -> Clips:
        """Start copying a micro-batch, and finishing what is still bytes; waits for nothing."""
        return Clips(*on_device(batch, self.device))

    def gradient_sync(self, *, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward: ranks exchange gradients in the last micro-batch only."""
        if last or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return self.network.no_sync()

    def forward(self, clips: Clips) -> Tensor:
        """The model's output."""
        with self.precision.autocast():
            return call_model(self.network, clips, use_spike=self.use_spike)

    def measure(self, output: Tensor, clips: Clips) -> LossValue:
        """The loss of the output."""
        assert clips.sharp is not None
        with self.precision.autocast():
            taught = None if self.teacher is None else self.teacher(clips)
            return self.loss(output, clips.sharp, taught)

    def backward(self, loss: Tensor) -> None:
        """Add this micro-batch's share of the gradients."""
        self.precision.scaler.scale(loss / self.accumulation).backward()

    def clip(self) -> Tensor:
        """Clip the gradients; returns their norm before that, not finite if one of them is not."""
        self.precision.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        return nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)

    def update(self, rate: float, bad: Tensor) -> None:
        """Take the optimizer step, unless `bad` is 1, and forget the gradients.

        A fused optimizer reads `bad` itself, so that nobody waits for it on a GPU.
        """
        set_learning_rate(self.optimizer, rate)
        if self.precision.is_fp16:
            self.precision.scaler.step(self.optimizer)
            self.precision.scaler.update()
        elif self.optimizer.defaults.get("fused"):
            _step_unless(self.optimizer, bad)
        elif not bad:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def loss_of(self, batch: Batch) -> Tensor:
        """The loss of one micro-batch by the bare model, for a diagnosis."""
        clips = self.to_device(batch)
        with self.precision.autocast():
            output = call_model(self.model, clips, use_spike=self.use_spike)
        return self.precision.scaler.scale(self.measure(output, clips).total)


def _step_unless(optimizer: Any, bad: Tensor) -> None:
    """A fused step that the device itself leaves out: the way GradScaler uses it."""
    optimizer.grad_scale, optimizer.found_inf = None, bad
    try:
        optimizer.step()
    finally:
        del optimizer.grad_scale, optimizer.found_inf
