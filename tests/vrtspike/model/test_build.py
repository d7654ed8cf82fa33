"""From the configuration to a network."""

import pytest
import torch

from vrtspike.errors import ModelError
from vrtspike.model.build import build_model
from vrtspike.model.settings import ChunkedAttentionConfig, FuseConfig, ModelConfig
from vrtspike.model.vrt import VRT
from vrtspike.model.vrt_spike import VRTSpike


def config(**change):
    options = {
        "channels_per_scale": (8,) * 4,
        "vrt_depths": (1,) * 8,
        "window_size": 4,
        "num_heads": 2,
        "deform_groups": 2,
        "spike_tsa": ChunkedAttentionConfig(heads=2),
        "fuse": FuseConfig(heads=2),
    }
    return ModelConfig(**{**options, **change})


def build(clip_len=3, crop_size=40, **change):
    torch.manual_seed(0)
    return build_model(config(**change), clip_len=clip_len, crop_size=crop_size, bins=4)


def test_a_new_network_returns_its_input_and_learns_from_the_second_step_on():
    network = build()
    clip, spikes = torch.rand(1, 3, 3, 40, 40), torch.rand(1, 3, 4, 20, 20)
    assert torch.equal(network(clip, spikes), clip)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    first = network.spike_encoder.in_proj.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        (network(clip, spikes) - clip.flip(1)).square().mean().backward()
        optimizer.step()
    assert not torch.equal(network(clip, spikes), clip)
    assert not torch.equal(network.spike_encoder.in_proj.weight, first)


def test_without_spikes_it_is_the_bare_vrt():
    network = build(use_spike=False)
    assert isinstance(network, VRT)
    clip = torch.rand(1, 3, 3, 40, 40)
    assert torch.equal(network(clip), clip)


def test_one_number_for_the_window_spans_the_clip():
    network = build(clip_len=5, vrt_depths=(2,) * 8)
    assert isinstance(network, VRTSpike)
    assert network.vrt.stage1.residual_group2.blocks[0].spec.window == (5, 4, 4)
    assert network.vrt.stage1.residual_group1.blocks[0].spec.window == (2, 4, 4)
    three = build(window_size=(2, 4, 5), vrt_depths=(2,) * 8)
    assert three.vrt.stage1.residual_group2.blocks[0].spec.window == (2, 4, 5)


def test_groups_of_stage_8_follow_the_length_of_the_depths():
    assert len(build().vrt.stage8) == 2
    long = build(vrt_depths=(1,) * 13)
    windows = [g.residual_group.blocks[0].spec.window[0] for g in long.vrt.stage8[1:]]
    assert windows == [3, 3, 3, 3, 1, 1]


def test_switches_reach_the_blocks():
    from vrtspike.model.settings import CheckpointingConfig

    network = build(
        attention="fused",
        vrt=CheckpointingConfig(use_checkpoint_attn=True, use_checkpoint_ffn=True),
    )
    spec = network.vrt.stage8[1].residual_group.blocks[0].spec
    assert (spec.attention, spec.checkpoint_attn, spec.checkpoint_ffn) == ("fused", True, True)
    assert network.spike_temporal_sa.blocks["0"].attn.mode == "fused"
    plain = build().vrt.stage1.residual_group2.blocks[0].spec
    assert (plain.attention, plain.checkpoint_attn) == ("auto", False)


def test_shapes_can_be_worked_out_without_memory():
    with torch.device("meta"):
        network = build()
    clip, spikes = torch.rand(2, 3, 3, 128, 256), torch.rand(2, 3, 4, 64, 128)
    out = network(clip.to("meta"), spikes.to("meta"))
    assert out.shape == clip.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_size": 44}, "height 44"),
        ({"clip_len": 1}, "at least 2 frames"),
        ({"channels_per_scale": (8, 8, 8, 16)}, r"embed_dims\[4\] = 16 must equal"),
        ({"window_size": 8, "crop_size": 56}, "at least 64"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_training(change, message):
    with pytest.raises(ModelError, match=message):
        build(**change)


@pytest.mark.parametrize("prefix", ["", "spynet.", "vrt.spynet."])
@pytest.mark.parametrize("wrapper", [None, "params", "params_ema"])
def test_flow_weights_load_from_each_form_of_checkpoint(tmp_path, prefix, wrapper):
    torch.manual_seed(5)
    donor = VRT(
        depths=(1,) * 8,
        embed_dims=(4,) * 8,
        num_heads=(1,) * 8,
        deformable_groups=1,
        indep_reconsts=(),
    ).spynet
    state = {prefix + k: v for k, v in donor.state_dict().items() if k != "mean"}
    torch.save(state if wrapper is None else {wrapper: state}, tmp_path / "flow.pth")
    network = build(pretrained_flow=str(tmp_path / "flow.pth"))
    for key, value in network.vrt.spynet.state_dict().items():
        assert torch.equal(value, donor.state_dict()[key]), key


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not weights", "cannot be read as weights"),
        (b"root:x:0:0:root:/root:/bin/bash", "cannot be read as weights"),
        ({"conv.weight": torch.zeros(1)}, "holds no SpyNet weights"),
        ([1, 2], "holds no SpyNet weights"),
        ({"basic_module.0.basic_module.0.weight": torch.zeros(1)}, "Missing key|size mismatch"),
        (Hostile(), "cannot be read as weights"),
    ],
)
def test_flow_files_that_do_not_fit_are_refused(tmp_path, capsys, content, message):
    path = tmp_path / "flow.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ModelError, match=message) as caught:
        build(pretrained_flow=str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_missing_flow_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.pth"):
        build(pretrained_flow=str(tmp_path / "nowhere.pth"))
