"""How a new network starts: as the identity, and ready to learn differences.

Only `build_model` uses this; a network that loads weights does not.
"""

import math

import torch
from torch import nn

from vrtspike.model.vrt import VRT
from vrtspike.model.vrt_spike import VRTSpike

# Differences are small: these gains bring them back to about the scale of the signal itself.
_RGB_GAIN = 5.0
_SPIKE_GAIN = 3.0


def initialise(model: VRT | VRTSpike) -> None:
    """Initialises a new network in place, after the constructors' random draws.

    The output equals the input exactly, since the last convolution is zero: in the very first
    step only that convolution gets a gradient other than zero, from the second step on all do.
    """
    vrt = model.vrt if isinstance(model, VRTSpike) else model
    _keep_the_scale(vrt)
    _look_at_differences(vrt.conv_first, _RGB_GAIN)
    if isinstance(model, VRTSpike):
        _look_at_differences(model.spike_encoder.in_proj, _SPIKE_GAIN)
    nn.init.zeros_(vrt.conv_last.weight)
    if vrt.conv_last.bias is not None:
        nn.init.zeros_(vrt.conv_last.bias)


def _keep_the_scale(module: nn.Module) -> None:
    """Linear layers that keep the variance of their input (LeCun et al., Efficient BackProp, 1998).

    The fixed deviation of 0.02, usual for transformers of several hundred channels, makes the
    warping's fusion, which has no residual path, lose a factor of 1,000 at 16 channels.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=1.0 / math.sqrt(layer.in_features))


@torch.no_grad()
def _look_at_differences(first: nn.Conv3d, gain: float) -> None:
    """Filters that sum to zero: differences in space, in time and between channels.

    What is to be restored is a difference; brightness, much larger, would otherwise rule every
    gradient.
    """
    first.weight -= first.weight.mean(dim=(1, 2, 3, 4), keepdim=True)
    first.weight *= gain
