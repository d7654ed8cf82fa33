"""The largest tensors of each stage: each is really allocated there, and none larger is missed."""

import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.vrtspike.model.test_costs import CLIP, SMALL
from vrtspike.model.build import build_model
from vrtspike.model.costs import ClipShape
from vrtspike.model.settings import ModelConfig
from vrtspike.model.stages import stage_submodules
from vrtspike.model.tensor_sizes import tensor_sizes


class Allocations(TorchDispatchMode):
    """Numbers of values of the tensors that each stage made."""

    def __init__(self) -> None:
        super().__init__()
        self.running = ["elsewhere"]
        self.found: dict[str, set[int]] = defaultdict(set)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        given = {
            each.untyped_storage().data_ptr()
            for each in tree_leaves((args, kwargs or {}))
            if isinstance(each, torch.Tensor)
        }
        out = function(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() not in given:
                self.found[self.running[-1]].add(each.numel())
        return out


def allocations(model: ModelConfig, clip: ClipShape) -> dict[str, set[int]]:
    network = build_model(model, clip_len=clip.frames, crop_size=64, bins=clip.bins)
    mode = Allocations()
    for stage, paths in stage_submodules(model.use_spike, model.fuse.scales).items():
        for path in paths:
            module = network.get_submodule(path)
            module.register_forward_pre_hook(lambda *_, s=stage: mode.running.append(s))
            module.register_forward_hook(lambda *_: mode.running.pop() and None)
    pictures = torch.rand(clip.batch, clip.frames, 3, clip.height, clip.width)
    voxels = torch.rand(clip.batch, clip.frames, clip.bins, clip.spike_height, clip.spike_width)
    with mode:
        network(pictures, voxels) if model.use_spike else network(pictures)
    return mode.found


@pytest.mark.parametrize(
    ("model", "clip"),
    [
        (SMALL, CLIP),
        (replace(SMALL, window_size=(2, 4, 4), deform_groups=2), replace(CLIP, frames=4)),
        (replace(SMALL, use_spike=False), replace(CLIP, batch=2)),
    ],
    ids=["small", "other windows", "without spikes, two clips"],
)
def test_every_tensor_of_the_table_is_allocated_in_its_stage(
    model: ModelConfig, clip: ClipShape
) -> None:
    seen = allocations(model, clip)
    for each in tensor_sizes(model, clip):
        assert math.prod(each.shape) in seen[each.stage], each.name


def test_no_tensor_of_the_stages_with_attention_is_larger_than_those_of_the_table() -> None:
    seen, table = allocations(SMALL, CLIP), tensor_sizes(SMALL, CLIP)
    for stage in ("flow", "vrt.stage1", "vrt.stage4", "vrt.stage8"):
        largest = max(math.prod(each.shape) for each in table if each.stage == stage)
        assert max(seen[stage]) == largest


def test_precision_and_the_fused_kernel_change_what_is_there() -> None:
    plain = {each.name: each for each in tensor_sizes(SMALL, CLIP)}
    half = {each.name: each for each in tensor_sizes(SMALL, replace(CLIP, half=True, fused=True))}
    assert set(half) < set(plain)
    assert all("weights of" in name for name in set(plain) - set(half))
    hidden = next(name for name in half if name.startswith("vrt.stage2: hidden"))
    assert 2 * half[hidden].num_bytes == plain[hidden].num_bytes
