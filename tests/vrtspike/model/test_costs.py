"""The cost table against the network itself, against published anchors, and its own laws."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vrtspike.config import Config, load_config
from vrtspike.model.build import build_model
from vrtspike.model.costs import ClipShape, parameter_count, stage_costs, total_cost
from vrtspike.model.settings import CheckpointingConfig, FuseConfig, ModelConfig
from vrtspike.model.stages import stage_submodules

CONFIGS = Path(__file__).parents[3] / "configs"
ALL = ("demo", *(f"deblur/vrt_spike_{name}" for name in ("baseline", "opt", "fast", "lowmem")))
SMALL = ModelConfig(
    channels_per_scale=(16,) * 4,
    vrt_depths=(3, 2, 2, 2, 2, 2, 2, 3, 1),
    window_size=4,
    num_heads=4,
    deform_groups=4,
    drop_path_rate=0.0,
    attention="explicit",
)
CLIP = ClipShape(batch=1, frames=3, height=64, width=64, spike_height=32, spike_width=32, bins=4)
ANCHOR = replace(SMALL, channels_per_scale=(96,) * 4, num_heads=6, deform_groups=16)
"""The network of the published figures: 6 frames, window 8, depths 8 and 4."""
ANCHOR = replace(ANCHOR, use_spike=False, window_size=8, vrt_depths=(8, 8, 8, 8, 4, 4, 4, 8))
ANCHOR_CLIP = replace(CLIP, frames=6, height=256, width=256)


def read(name: str) -> Config:
    return load_config(CONFIGS / f"{name}.yaml")


@pytest.mark.parametrize("name", ALL)
def test_parameters_equal_those_of_the_built_network_by_stage(name: str) -> None:
    config = read(name)
    data, model = config.data, config.model
    network = build_model(model, clip_len=data.clip_len, crop_size=256, bins=data.k)
    clip = replace(CLIP, frames=data.clip_len, bins=data.k)
    costs = stage_costs(model, clip)
    built = Counter[str]()
    for stage, modules in stage_submodules(model.use_spike, model.fuse.scales).items():
        for path in modules:
            built[stage] += sum(p.numel() for p in network.get_submodule(path).parameters())
    assert {stage: cost.parameters for stage, cost in costs.items()} == built
    assert parameter_count(model, data.clip_len, data.k) == sum(
        p.numel() for p in network.parameters()
    )


class KeptTensors:
    """Bytes that autograd keeps, by the stage that kept them first; a shared tensor counts once."""

    def __init__(self, network: nn.Module, stages: dict[str, tuple[str, ...]]) -> None:
        self.by_stage = Counter[str]()
        self.running = ["elsewhere"]
        self.alive: dict[int, Tensor] = {
            p.untyped_storage().data_ptr(): p for p in self.own(network)
        }
        for stage, paths in stages.items():
            for path in paths:
                module = network.get_submodule(path)
                module.register_forward_pre_hook(lambda *_, s=stage: self.running.append(s))
                module.register_forward_hook(lambda *_: self.running.pop() and None)

    @staticmethod
    def own(network: nn.Module) -> list[Tensor]:
        return [*network.parameters(), *network.buffers()]

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.alive:
            self.alive[storage.data_ptr()] = tensor
            self.by_stage[self.running[-1]] += storage.nbytes()
        return tensor


def measure(model: ModelConfig, clip: ClipShape) -> tuple[Counter[str], dict[str, int]]:
    """Kept bytes and FLOPs of the real network by stage."""
    torch.manual_seed(0)
    network = build_model(model, clip_len=clip.frames, crop_size=clip.height, bins=clip.bins)
    stages = stage_submodules(model.use_spike, model.fuse.scales)
    kept = KeptTensors(network, stages)
    lead = (clip.batch, clip.frames)
    inputs = [torch.rand(*lead, 3, clip.height, clip.width)]
    if model.use_spike:
        inputs.append(torch.rand(*lead, clip.bins, clip.spike_height, clip.spike_width))
    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor):
        network(*inputs)
    flops = counter.get_flop_counts()
    name = type(network).__name__
    by_stage = {
        stage: sum(sum(flops.get(f"{name}.{path}", {}).values()) for path in paths)
        for stage, paths in stages.items()
    }
    return kept.by_stage, by_stage


VARIANTS = {
    "plain": (SMALL, CLIP),
    "no spikes": (replace(SMALL, use_spike=False), CLIP),
    "attention recomputed": (
        replace(SMALL, vrt=CheckpointingConfig(use_checkpoint_attn=True)),
        replace(CLIP, batch=2, frames=2),
    ),
    "both recomputed": (
        replace(SMALL, vrt=CheckpointingConfig(use_checkpoint_attn=True, use_checkpoint_ffn=True)),
        CLIP,
    ),
    "padded windows, odd sides, two fusions": (
        replace(SMALL, window_size=5, fuse=FuseConfig(scales=(2, 3))),
        replace(CLIP, frames=4, height=48, width=56, spike_height=24, spike_width=28),
    ),
    "large columns are recomputed": (
        replace(SMALL, channels_per_scale=(64,) * 4, vrt_depths=(1,) * 8),
        replace(CLIP, frames=2),
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_kept_bytes_and_flops_are_those_of_the_network(name: str) -> None:
    model, clip = VARIANTS[name]
    kept, flops = measure(model, clip)
    costs = stage_costs(model, clip)
    assert set(kept) == set(costs)
    for stage, cost in costs.items():
        assert cost.saved_bytes == pytest.approx(kept[stage], rel=0.02), stage
        # The counter leaves out the sums over frames, which are no matrix products.
        assert cost.flops == pytest.approx(flops[stage], rel=0.1), stage
    assert sum(kept.values()) == pytest.approx(total_cost(model, clip).saved_bytes, rel=0.01)
    assert sum(flops.values()) == pytest.approx(total_cost(model, clip).flops, rel=0.005)


def test_parameters_of_the_published_network() -> None:
    costs = stage_costs(ANCHOR, ANCHOR_CLIP)
    millions = {name: cost.parameters / 1e6 for name, cost in costs.items()}
    assert sum(millions.values()) == pytest.approx(15.138, abs=5e-4)
    assert millions["flow"] == pytest.approx(1.440, abs=5e-4)
    assert millions["vrt.stage1"] == pytest.approx(2.028, abs=5e-4)
    assert millions["vrt.stage3"] == pytest.approx(2.065, abs=5e-4)
    assert millions["vrt.stage6"] == pytest.approx(1.518, abs=5e-4)
    assert millions["vrt.stage8"] == pytest.approx(0.885, abs=5e-4)


@pytest.mark.parametrize(
    ("stage", "giga"),
    [
        ("flow", 419),
        ("vrt.stage1", 2245),
        ("vrt.stage2", 569),
        ("vrt.stage3", 142),
        ("vrt.stage4", 36),
        ("vrt.stage5", 108),
        ("vrt.stage6", 431),
        ("vrt.stage7", 1725),
    ],
)
def test_flops_of_the_published_network(stage: str, giga: float) -> None:
    found = stage_costs(ANCHOR, ANCHOR_CLIP)[stage].flops / 1e9
    assert found == pytest.approx(giga, rel=0.02)


def test_activation_memory_is_of_the_published_size() -> None:
    """Published for other code: 129.5 GiB without, 26.0 with both checkpointing switches."""
    plain = total_cost(ANCHOR, ANCHOR_CLIP).saved_bytes / 2**30
    both = CheckpointingConfig(use_checkpoint_attn=True, use_checkpoint_ffn=True)
    lean = total_cost(replace(ANCHOR, vrt=both), ANCHOR_CLIP).saved_bytes / 2**30
    assert 0.5 < plain / 129.5 < 2.0
    assert 0.5 < lean / 26.0 < 2.0


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(2, 7),
    side=st.integers(8, 20),
    half=st.booleans(),
    fused=st.booleans(),
)
def test_costs_grow_with_the_clip(
    batch: int, frames: int, side: int, half: bool, fused: bool
) -> None:
    clip = replace(CLIP, batch=batch, frames=frames, height=8 * side, width=8 * side)
    clip = replace(clip, half=half, fused=fused)
    base = total_cost(SMALL, clip)
    more_clips = total_cost(SMALL, replace(clip, batch=batch + 1))
    # Not pixel by pixel: from some size on sampled columns are recomputed instead of kept.
    larger = total_cost(SMALL, replace(clip, height=16 * side))
    for grown in (more_clips, larger):
        assert grown.saved_bytes > base.saved_bytes
        assert grown.flops > base.flops
        assert grown.parameters == base.parameters


def test_half_and_fused_never_keep_more() -> None:
    plain = total_cost(SMALL, CLIP)
    fused = total_cost(SMALL, replace(CLIP, fused=True))
    half = total_cost(SMALL, replace(CLIP, fused=True, half=True))
    assert half.saved_bytes < fused.saved_bytes < plain.saved_bytes
    assert fused.flops == plain.flops


def test_checkpointing_trades_kept_bytes_for_a_transient() -> None:
    switches = CheckpointingConfig(use_checkpoint_attn=True)
    plain = total_cost(SMALL, CLIP)
    lean = total_cost(replace(SMALL, vrt=switches), CLIP)
    assert lean.saved_bytes < plain.saved_bytes
    assert lean.peak_bytes > plain.peak_bytes
    assert (lean.flops, lean.parameters) == (plain.flops, plain.parameters)
