"""Validation: the whole validation set, each rank its share, sums with true counts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from vrtspike.data.lean import PICTURES, on_device
from vrtspike.engine import random_state
from vrtspike.engine.batch_stream import Batch
from vrtspike.engine.clip_model import ClipRestorer, Clips
from vrtspike.engine.compilation import eagerly
from vrtspike.engine.damage_ledger import DamageLedger
from vrtspike.engine.distributed import World
from vrtspike.engine.precision import Precision
from vrtspike.engine.quality import Quality, QualitySums
from vrtspike.errors import VRTSpikeError


@dataclass(frozen=True)
class Validator:
    """Measures a model on a validation set.

    `compiled` says that stages were compiled: validation then runs them uncompiled, since its
    sizes would each need a compilation of their own. `damage` counts the samples that had to be
    left out; None where a damaged one ends the run. `asked_to_stop` says whether a signal ended the
    run meanwhile.
    """

    restorer: ClipRestorer
    batches: Iterable[Batch]
    precision: Precision
    world: World
    compiled: bool = False
    damage: DamageLedger | None = None
    asked_to_stop: Callable[[], bool] = lambda: False

    def measure(self) -> Quality | None:
        """Mean quality over every frame of the validation set, equal on all ranks.

        The model is in evaluation mode inside and as before afterwards; no random number is used
        up.

        Returns:
            None, on all ranks, where one of them was asked to stop before it had come to its end.

        Raises:
            DataError: more samples are damaged than allowed.
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
        if float(self.world.sum(torch.tensor(float(sums is None)))) or sums is None:
            return None
        self._judge_damage()
        total = QualitySums.from_tensor(self.world.sum(sums.as_tensor()))
        try:
            return total.means()
        except ValueError as error:
            raise VRTSpikeError(f"validation: {error}; is the validation split empty?") from error

    def _judge_damage(self) -> None:
        if self.damage is not None:
            counted = torch.tensor(float(self.damage.count))
            self.damage.judge(round(float(self.world.sum(counted))))
            self.damage.conclude()

    def _sums(self) -> QualitySums | None:
        sums = QualitySums()
        if self.damage is not None:
            self.damage.begin(self.damage.epoch + 1)
        device = self.world.device
        for batch in self.batches:
            if self.asked_to_stop():
                return None
            if self.damage is not None:
                self.damage.note(batch)
            if PICTURES[0] not in batch:
                continue
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
