"""The stages that are measured from outside cover the forward pass, each part once."""

import pytest
import torch

from vrtspike.model.build import build_model
from vrtspike.model.settings import ChunkedAttentionConfig, FuseConfig, ModelConfig
from vrtspike.model.stages import stage_submodules


def build(use_spike, scales):
    config = ModelConfig(
        use_spike=use_spike,
        channels_per_scale=(4,) * 4,
        vrt_depths=(1,) * 8,
        window_size=2,
        num_heads=1,
        deform_groups=1,
        spike_tsa=ChunkedAttentionConfig(heads=1),
        fuse=FuseConfig(heads=1, scales=scales),
    )
    return build_model(config, clip_len=2, crop_size=40, bins=2)


CASES = [(False, (1, 2, 3, 4)), (True, (1, 2, 3, 4)), (True, (2, 4))]


@pytest.mark.parametrize(("use_spike", "scales"), CASES)
def test_every_stage_runs_once_and_none_inside_another(use_spike, scales):
    network = build(use_spike, scales)
    active, calls = [], []

    def enter(path):
        assert not active, f"{path} runs inside {active}"
        active.append(path)

    def leave(path):
        assert active.pop() == path
        calls.append(path)

    stages = stage_submodules(use_spike, scales)
    for path in (p for paths in stages.values() for p in paths):
        module = network.get_submodule(path)
        module.register_forward_pre_hook(lambda _m, _i, path=path: enter(path))
        module.register_forward_hook(lambda _m, _i, _o, path=path: leave(path))
    inputs = [torch.rand(1, 2, 3, 40, 40)]
    inputs += [torch.rand(1, 2, 2, 20, 20)] if use_spike else []
    network(*inputs)
    assert calls == [p for paths in stages.values() for p in paths]


@pytest.mark.parametrize(("use_spike", "scales"), CASES)
def test_every_parameter_belongs_to_one_stage(use_spike, scales):
    paths = [p for ps in stage_submodules(use_spike, scales).values() for p in ps]
    for name, _ in build(use_spike, scales).named_parameters():
        assert len([p for p in paths if name.startswith(p + ".")]) == 1, name


def test_the_names_are_those_of_the_records():
    assert list(stage_submodules(True)) == [
        "spike_encoder",
        "temporal_attention",
        "flow",
        "vrt.input",
        "vrt.stage1",
        "fusion1",
        "vrt.stage2",
        "fusion2",
        "vrt.stage3",
        "fusion3",
        "vrt.stage4",
        "fusion4",
        *(f"vrt.stage{i}" for i in range(5, 9)),
        "vrt.output",
    ]
    assert stage_submodules(False, prefix="module.")["flow"] == ("module.spynet",)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_gradients_can_be_observed_at_every_stage():
    """Backward hooks need tensors or tuples of tensors at the borders of a module."""
    network = build(True, (1, 2, 3, 4))
    paths = [p for ps in stage_submodules(True).values() for p in ps]
    seen = []
    for path in paths:
        network.get_submodule(path).register_full_backward_hook(
            lambda _m, _i, _o, path=path: seen.append(path)
        )
    network(torch.rand(1, 2, 3, 40, 40), torch.rand(1, 2, 2, 20, 20)).sum().backward()
    without_gradient = {"vrt.frame_warp"}
    assert set(paths) - set(seen) <= without_gradient
