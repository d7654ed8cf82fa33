"""A new network starts as the identity, keeps its features' scale and sees differences only."""

import pytest
import torch

from vrtspike.model.build import build_model
from vrtspike.model.settings import ModelConfig

SMALL = {
    "channels_per_scale": (8, 8, 8, 8),
    "vrt_depths": (2,) * 8,
    "window_size": 4,
    "num_heads": 2,
    "deform_groups": 2,
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model(ModelConfig(**SMALL), clip_len=2, crop_size=64, bins=4).eval()


def test_output_is_the_input(network):
    clip = torch.rand(1, 2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(clip, torch.rand(1, 2, 4, 32, 32)), clip)


@pytest.mark.parametrize("name", ["vrt.conv_first", "spike_encoder.in_proj"])
def test_constant_brightness_leaves_no_trace(network, name):
    layer = network.get_submodule(name)
    constant = torch.full((1, layer.in_channels, 5, 9, 9), 0.7)
    with torch.no_grad():
        out = torch.nn.functional.conv3d(constant, layer.weight)
    assert out.abs().max() < 1e-5
    assert layer.weight.abs().max() > 0.1


def test_fusion_of_the_warped_frames_keeps_the_scale(network):
    tokens = torch.randn(1, 500, 3 * 8)
    with torch.no_grad():
        out = network.vrt.stage1.pa_fuse(tokens)
    assert 0.1 < out.std() < 3.0
