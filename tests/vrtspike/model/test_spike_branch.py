"""Spike encoder, attention over time and fusion against PyTorch's own layers."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from vrtspike.errors import ModelError
from vrtspike.model.fusion import FusionBlock
from vrtspike.model.settings import (
    ChunkedAttentionConfig,
    FuseConfig,
    ModelConfig,
    SpikeEncoderConfig,
)
from vrtspike.model.spike_encoder import SpikeEncoder, VideoConv
from vrtspike.model.temporal_attention import SpikeTemporalAttention, TimeAttention
from vrtspike.model.vrt import VRT
from vrtspike.model.vrt_spike import VRTSpike


@pytest.mark.parametrize(("time_stride", "stride"), [(1, 1), (1, 2), (2, 2), (3, 1)])
def test_video_convolution_is_a_3d_convolution(time_stride, stride):
    conv = VideoConv(5, 6, time_stride, stride)
    x = torch.randn(2, 5, 9, 7, 5)
    wanted = nn.Conv3d.forward(conv, x.permute(0, 4, 1, 2, 3))
    assert torch.allclose(conv(x).permute(0, 4, 1, 2, 3), wanted, atol=1e-5)


def test_encoder_halves_the_sides_and_keeps_the_frames():
    encoder = SpikeEncoder(6, (8, 12, 16, 20), SpikeEncoderConfig())
    features = encoder(torch.rand(2, 3, 6, 22, 33))
    assert [tuple(f.shape) for f in features] == [
        (2, 3, 22, 33, 8),
        (2, 3, 11, 17, 12),
        (2, 3, 6, 9, 16),
        (2, 3, 3, 5, 20),
    ]


def reference_attention(ours, channels, heads):
    theirs = nn.MultiheadAttention(channels, heads, batch_first=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return theirs


@pytest.mark.parametrize("mode", ["explicit", "fused"])
@pytest.mark.parametrize("context_frames", [None, 5, 3])
def test_time_attention_is_multihead_attention_per_pixel(mode, context_frames):
    torch.manual_seed(0)
    ours = TimeAttention(12, 3, 0.0, mode)
    nn.init.normal_(ours.in_proj_bias)
    theirs = reference_attention(ours, 12, 3)
    x = torch.randn(2, 5, 3, 4, 12)
    context = None if context_frames is None else torch.randn(2, context_frames, 3, 4, 12)

    def sequences(v):
        return v.permute(0, 2, 3, 1, 4).flatten(0, 2)

    other = sequences(x if context is None else context)
    wanted, _ = theirs(sequences(x), other, other, need_weights=False)
    out = sequences(ours(x, context))
    assert (out - wanted).abs().max() < 1e-5


def test_temporal_attention_keeps_pixels_apart_and_skips_unused_scales():
    torch.manual_seed(0)
    attention = SpikeTemporalAttention((8, 8), (2,), ChunkedAttentionConfig(), "auto")
    features = (torch.randn(1, 3, 4, 4, 8), torch.randn(1, 3, 2, 2, 8))
    before = attention(*features)
    assert torch.equal(before[0], features[0])
    features[1][:, :, 0, 0] += 1.0
    after = attention(*features)
    moved = (after[1] - before[1]).abs().amax(dim=(0, 1, 4)) > 1e-4
    assert moved.tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("chunk_size", [3, 64])
def test_fusion_block_written_out(chunk_size):
    torch.manual_seed(0)
    block = FusionBlock(8, FuseConfig(heads=2, chunk_size=chunk_size), "auto")
    rgb, spike = torch.randn(1, 3, 8, 10, 8), torch.randn(1, 3, 4, 5, 8)
    images = spike.flatten(0, 1).permute(0, 3, 1, 2)
    resized = F.interpolate(images, (8, 10), mode="bilinear", align_corners=False)
    context = block.ln_kv(resized.permute(0, 2, 3, 1).view(rgb.shape))
    theirs = reference_attention(block.attn.attn, 8, 2)

    def sequences(v):
        return v.permute(0, 2, 3, 1, 4).flatten(0, 2)

    kv = sequences(context)
    seen, _ = theirs(sequences(block.ln_q(rgb)), kv, kv, need_weights=False)
    x = rgb + seen.view(1, 8, 10, 3, 8).permute(0, 3, 1, 2, 4)
    wanted = x + block.ffn(block.ln_ffn(x))
    assert (block(rgb, spike) - wanted).abs().max() < 1e-5


def spike_network(**change):
    vrt = VRT(
        window_size=(2, 2, 2),
        depths=(1,) * 8,
        indep_reconsts=(),
        embed_dims=(4,) * 8,
        num_heads=(1,) * 8,
        deformable_groups=1,
    )
    options = {
        "channels_per_scale": (4,) * 4,
        "num_heads": 1,
        "deform_groups": 1,
        "spike_tsa": ChunkedAttentionConfig(heads=1),
        "fuse": FuseConfig(heads=1),
        **change,
    }
    return VRTSpike(vrt, ModelConfig(**options), bins=3)


def test_skipped_scales_have_no_modules_and_rename_no_others():
    every = set(spike_network().state_dict())
    late = set(spike_network(fuse=FuseConfig(heads=1, scales=(4, 2))).state_dict())
    gone = every - late
    assert late < every
    assert {key.split(".")[2] for key in gone} == {"0", "2"}
    early = spike_network(fuse=FuseConfig(heads=1, scales=(1,)))
    assert len(early.spike_encoder.downs) == 0


@pytest.mark.parametrize("scales", [(1,), (2, 4), (1, 2, 3, 4)])
def test_every_parameter_is_trained(scales):
    """A parameter without gradient stops distributed training."""
    torch.manual_seed(0)
    network = spike_network(fuse=FuseConfig(heads=1, scales=scales))
    network(torch.rand(1, 2, 3, 40, 40), torch.rand(1, 2, 3, 20, 20)).sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_fused_features_reach_the_skip_connections():
    """What refine returns replaces a stage's output for the later stages too."""
    network = spike_network()
    clip = torch.rand(1, 2, 3, 40, 40)
    seen = {}

    def refine(stage, tokens):
        seen[stage] = torch.full_like(tokens, float(stage))
        return seen[stage]

    skips = {}
    for number, stage in ((6, 3), (7, 2), (8, 1)):
        network.vrt.get_submodule(f"stage{number}").register_forward_pre_hook(
            lambda _m, inputs, stage=stage: skips.__setitem__(stage, inputs[-1])
        )
    inputs = {}
    network.vrt.stage5.register_forward_pre_hook(lambda _m, args: inputs.__setitem__("x", args[0]))
    network.vrt(clip, refine)
    assert sorted(seen) == [1, 2, 3, 4]
    assert inputs["x"] is seen[4]
    assert all(skips[stage] is seen[stage] for stage in (1, 2, 3))


@pytest.mark.parametrize(
    ("blur", "spikes", "message"),
    [
        ((1, 2, 3, 40, 40), (1, 3, 3, 20, 20), r"\(1, 2\), spikes \(1, 3\)"),
        ((2, 2, 3, 40, 40), (1, 2, 3, 20, 20), r"\(2, 2\), spikes \(1, 2\)"),
        ((1, 2, 3, 40, 40), (1, 2, 4, 20, 20), r"3 bins.*got \(1, 2, 4, 20, 20\)"),
        ((1, 2, 3, 40, 40), (1, 2, 20, 20), r"got \(1, 2, 20, 20\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(blur, spikes, message):
    with pytest.raises(ModelError, match=message):
        spike_network()(torch.rand(blur), torch.rand(spikes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fuse": FuseConfig(heads=1, scales=())}, "set use_spike to false"),
        (
            {"spike_encoder": SpikeEncoderConfig(temporal_strides=(1, 2, 1))},
            r"\[1, 2, 1\] shorten the spike features of fused scale 3",
        ),
    ],
)
def test_branches_that_cannot_be_fused_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        spike_network(**change)


def test_time_strides_after_the_last_fused_scale_do_no_harm():
    network = spike_network(
        fuse=FuseConfig(heads=1, scales=(1, 2)),
        spike_encoder=SpikeEncoderConfig(temporal_strides=(1, 2, 2)),
    )
    out = network(torch.rand(1, 3, 3, 40, 40), torch.rand(1, 3, 3, 20, 20))
    assert out.shape == (1, 3, 3, 40, 40)
