"""Validation: the whole validation set, each rank its share, sums with true counts."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from vrtspike.data.lean import on_device
from vrtspike.engine import random_state
from vrtspike.engine.batch_stream import Batch
from vrtspike.engine.clip_model import ClipRestorer, Clips
from vrtspike.engine.compilation import eagerly
from vrtspike.engine.distributed import World
from vrtspike.engine.precision import Precision
from vrtspike.engine.quality import Quality, QualitySums
from vrtspike.errors import VRTSpikeError


@dataclass(frozen=True)
class Validator:
    """Measures a model on a validation set.

    `compiled` says that stages were compiled: validation then runs them uncompiled, since its
    sizes would each need a compilation of their own.
    """

    restorer: ClipRestorer
    batches: Iterable[Batch]
    precision: Precision
    world: World
    compiled: bool = False

    def measure(self) -> Quality:
        """Mean quality over every frame of the validation set, equal on all ranks.

        The model is in evaluation mode inside and as before afterwards; no random number is used
        up.

        Raises:
            VRTSpikeError: there was nothing to measure, or the model no longer gives numbers.
        """
        model = self.restorer.model
        with (
            random_state.untouched(self.world.device),
            eagerly(compiled=self.compiled),
            evaluating(model),
            torch.no_grad(),
        ):
            sums = self._sums()
        total = QualitySums.from_tensor(self.world.sum(sums.as_tensor()))
        try:
            return total.means()
        except ValueError as error:
            raise VRTSpikeError(f"validation: {error}; is the validation split empty?") from error

    def _sums(self) -> QualitySums:
        sums = QualitySums()
        device = self.world.device
        for batch in self.batches:
            blur, vox, sharp = on_device(batch, device)
            with self.precision.autocast():
                output = self.restorer(Clips(blur, vox))
            try:
                sums.add(output.flatten(0, 1), sharp.flatten(0, 1), blur.flatten(0, 1))
            except ValueError as error:
                raise VRTSpikeError(
                    f"validation: {error}: lower TRAIN.OPTIM.LR or TRAIN.MAX_GRAD_NORM, prefer "
                    "TRAIN.AMP_DTYPE=bf16 to fp16, or check the validation data"
                ) from error
        return sums


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the body, then the mode that was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
