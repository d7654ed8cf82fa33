"""Calling a model on clips: which inputs it takes, and which sizes it can take."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vrtspike.config import Config

_MULTIPLE = 8  # the trunk halves height and width three times
_FLOW_MIN_SIDE = 33  # below, the flow network's coarsest level has a single pixel


@dataclass(frozen=True)
class Clips:
    """A batch of clips on the model's device: pictures (B, T, 3, H, W) in 0..1.

    `spike_vox` is (B, T, K, Hs, Ws); `sharp` is None where it is not known.
    """

    blur: Tensor
    spike_vox: Tensor | None = None
    sharp: Tensor | None = None


def call_model(network: nn.Module, clips: Clips, *, use_spike: bool) -> Tensor:
    """The network's output for clips of a size it can take: (B, T, 3, H, W)."""
    if use_spike:
        output: Tensor = network(clips.blur, clips.spike_vox)
    else:
        output = network(clips.blur)
    return output


def least_side(config: Config) -> tuple[int, int]:
    """Smallest height and width, in pixels, that the configured model can take."""
    window = config.model.window_size
    sides = (window, window) if isinstance(window, int) else window[1:]
    least = [_up(max(_FLOW_MIN_SIDE, _MULTIPLE * side)) for side in sides]
    return least[0], least[1]


@dataclass(frozen=True)
class ClipRestorer:
    """Runs a model on clips of any size: repeats the border up to a legal size, then cuts it off.

    `least` is the model's smallest (height, width); spikes are widened in proportion.
    """

    model: nn.Module
    use_spike: bool
    least: tuple[int, int]

    def __call__(self, clips: Clips) -> Tensor:
        """The restored clips, the size of `clips.blur`, float32."""
        height, width = clips.blur.shape[-2:]
        below = max(_up(height), self.least[0]) - height
        right = max(_up(width), self.least[1]) - width
        vox = clips.spike_vox
        if vox is not None:
            spike_below = round(below * vox.shape[-2] / height)
            spike_right = round(right * vox.shape[-1] / width)
            vox = _widen(vox, spike_below, spike_right)
        widened = Clips(_widen(clips.blur, below, right), vox)
        output = call_model(self.model, widened, use_spike=self.use_spike)
        return output[..., :height, :width].float()


def _up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE


def _widen(clip: Tensor, below: int, right: int) -> Tensor:
    if not below and not right:
        return clip
    frames = functional.pad(clip.flatten(0, 1), (0, right, 0, below), mode="replicate")
    return torch.unflatten(frames, 0, clip.shape[:2])
