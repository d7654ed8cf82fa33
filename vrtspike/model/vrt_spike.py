"""VRT-Spike: the restoration transformer with features of a spike camera fused in."""

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor, nn

from vrtspike.errors import ModelError
from vrtspike.model.fusion import SpikeFusion
from vrtspike.model.settings import ModelConfig
from vrtspike.model.spike_encoder import SpikeEncoder
from vrtspike.model.temporal_attention import SpikeTemporalAttention
from vrtspike.model.vrt import VRT


class VRTSpike(nn.Module):
    """Sharp frames from blurry frames and the spikes recorded during them."""

    def __init__(self, vrt: VRT, config: ModelConfig, bins: int) -> None:
        """Builds the spike branch around a VRT.

        Args:
            vrt: the restoration network; its first four stages have `channels_per_scale` channels.
            config: settings of the spike branch.
            bins: spike bins per frame (K).

        Raises:
            ModelError: settings that leave nothing to fuse or features that cannot be fused.
        """
        super().__init__()
        scales = sorted(config.fuse.scales)
        _check_fusable(scales, config.spike_encoder.temporal_strides)
        # Scales beyond the last fused one would be trained by nothing.
        channels = config.channels_per_scale[: scales[-1]]
        self.bins = bins
        self.vrt = vrt
        self.spike_encoder = SpikeEncoder(bins, channels, config.spike_encoder)
        self.spike_temporal_sa = SpikeTemporalAttention(
            channels, scales, config.spike_tsa, config.attention
        )
        self.cross_attn_fuse = SpikeFusion(channels, config.fuse, config.attention)

    def forward(self, blur: Tensor, spike_vox: Tensor) -> Tensor:
        """Restores a clip.

        Args:
            blur: (B, T, 3, H, W) in [0, 1].
            spike_vox: (B, T, K, Hs, Ws) spike counts, at the spike camera's resolution.

        Returns:
            (B, T, 3, H, W), not clamped.

        Raises:
            ModelError: shapes that do not fit the network or each other.
        """
        self._check(blur.shape, spike_vox.shape)
        encoded: tuple[Tensor, ...] = self.spike_encoder(spike_vox)
        features: tuple[Tensor, ...] = self.spike_temporal_sa(*encoded)

        def refine(stage: int, tokens: Tensor) -> Tensor:
            fused: Tensor = self.cross_attn_fuse(stage, tokens, features)
            return fused

        restored: Tensor = self.vrt(blur, refine)
        return restored

    def _check(self, blur: torch.Size, spikes: torch.Size) -> None:
        if len(spikes) != 5 or spikes[2] != self.bins:
            raise ModelError(
                f"spikes must be (batch, frames, {self.bins} bins, height, width), "
                f"got {tuple(spikes)}"
            )
        if blur[:2] != spikes[:2]:
            raise ModelError(
                f"blurry clip has (batch, frames) {tuple(blur[:2])}, spikes {tuple(spikes[:2])}"
            )


def _check_fusable(scales: Sequence[int], temporal_strides: Sequence[int]) -> None:
    if not scales:
        raise ModelError("fuse.scales is empty: to train without spikes set use_spike to false")
    strides = list(accumulate(temporal_strides, mul, initial=1))
    for scale in scales:
        if strides[scale - 1] != 1:
            raise ModelError(
                f"spike_encoder.temporal_strides {list(temporal_strides)} shorten the spike "
                f"features of fused scale {scale} in time; fusion needs every frame"
            )
