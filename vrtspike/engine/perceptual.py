"""The perceptual loss: L1 between VGG-16 features, with weights from a local file.

The trunk is VGG-16's configuration D (Simonyan and Zisserman 2015); its layers carry the numbers
of torchvision's `features`, so that a torchvision `vgg16` state dict loads. The weights known as
IMAGENET1K_V1 expect RGB in 0..1, normalised with the ImageNet mean and standard deviation below.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from vrtspike.engine.stored_tensors import read_tensors
from vrtspike.errors import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_WIDTHS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def _trunk() -> tuple[list[nn.Module], dict[str, int]]:
    """All convolutions of VGG-16, and the index of the ReLU behind each name `reluB_N`."""
    layers: list[nn.Module] = []
    names: dict[str, int] = {}
    channels = 3
    for block, (width, count) in enumerate(_WIDTHS, start=1):
        for number in range(1, count + 1):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            names[f"relu{block}_{number}"] = len(layers) - 1
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers, names


class PerceptualLoss(nn.Module):
    """Mean absolute difference of VGG-16 features, summed over the chosen layers."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        trunk, names = _trunk()
        self._taps = frozenset(names[layer] for layer in layers)
        self.features = nn.Sequential(*trunk[: max(self._taps) + 1])
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(requires_grad=False)

    def forward(self, output: Tensor, sharp: Tensor) -> Tensor:
        """The loss between two clips (B, T, 3, H, W) in 0..1; gradients reach `output` only."""
        with torch.no_grad():
            wanted = self._taps_of(sharp)
        found = self._taps_of(output)
        pairs = zip(found, wanted, strict=True)
        return torch.stack([(a.float() - b.float()).abs().mean() for a, b in pairs]).sum()

    def _taps_of(self, clip: Tensor) -> list[Tensor]:
        x = (clip.flatten(0, 1) - self.mean) / self.std
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                taps.append(x)
        return taps


def load_perceptual(layers: tuple[str, ...], path: Path) -> PerceptualLoss:
    """A perceptual loss with the weights of a file that holds torchvision's `vgg16` state dict.

    Raises:
        CheckpointError: the file is missing or unreadable.
        ModelError: the file lacks a layer; the message names it.
    """
    loss = PerceptualLoss(layers)
    stored = read_tensors(path, "VGG-16 weights (LOSS.VGG_PERCEPTUAL.WEIGHTS_PATH)")
    weights = {}
    for key, parameter in loss.features.state_dict().items():
        value = stored.get(f"features.{key}", stored.get(key))
        if not isinstance(value, Tensor) or value.shape != parameter.shape:
            raise ModelError(
                f"{path}: no VGG-16 weights: 'features.{key}' of shape "
                f"{tuple(parameter.shape)} is missing (LOSS.VGG_PERCEPTUAL.WEIGHTS_PATH)"
            )
        weights[key] = value
    loss.features.load_state_dict(weights)
    return loss
