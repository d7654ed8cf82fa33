"""The training loss and its named terms."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vrtspike.engine.perceptual import PerceptualLoss
from vrtspike.engine.settings import LossConfig


@dataclass(frozen=True)
class LossValue:
    """The loss to differentiate, and its unweighted terms by name (detached scalars)."""

    total: Tensor
    terms: dict[str, Tensor]


def charbonnier(output: Tensor, target: Tensor, delta: float) -> Tensor:
    """Mean of sqrt(difference squared + delta squared), computed in float32.

    Half precision could not hold delta squared (1e-6 is below float16's normal range), so the
    difference is widened first.
    """
    difference = output.float() - target.float()
    return torch.sqrt(difference * difference + delta * delta).mean()


class TrainingLoss:
    """Charbonnier, an optional perceptual term, and an optional teacher to imitate.

    Terms are named as in the step line: `charb`, `vgg`, `distill`. A teacher of weight w turns
    the loss L into (1 - w) L + w Charbonnier(output, teacher's output).
    """

    def __init__(
        self,
        settings: LossConfig,
        *,
        perceptual: PerceptualLoss | None = None,
        teacher_weight: float = 0.0,
    ) -> None:
        self._charbonnier = settings.charbonnier
        self._vgg_weight = settings.vgg_perceptual.weight
        self._perceptual = perceptual
        self._teacher_weight = teacher_weight

    def __call__(
        self, output: Tensor, sharp: Tensor, teacher_output: Tensor | None = None
    ) -> LossValue:
        """The loss of one micro-batch; all clips (B, T, 3, H, W) in 0..1."""
        delta = self._charbonnier.delta
        terms = {"charb": charbonnier(output, sharp, delta)}
        total = self._charbonnier.weight * terms["charb"]
        if self._perceptual is not None:
            terms["vgg"] = self._perceptual(output, sharp)
            total = total + self._vgg_weight * terms["vgg"]
        if teacher_output is not None:
            terms["distill"] = charbonnier(output, teacher_output, delta)
            weight = self._teacher_weight
            total = (1.0 - weight) * total + weight * terms["distill"]
        return LossValue(total, {name: term.detach() for name, term in terms.items()})
