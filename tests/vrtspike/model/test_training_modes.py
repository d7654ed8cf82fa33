"""Checkpointing, compilation, distributed training and mixed precision give the same network."""

import pytest
import torch
import torch.distributed as dist
from golden_small import small_inputs, small_network
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from vrtspike.model.attention import BlockGroup, BlockSpec, TransformerBlock
from vrtspike.model.settings import CheckpointingConfig, ModelConfig


def set_checkpointing(network, attn=True, ffn=True):
    from dataclasses import replace

    for module in network.modules():
        if isinstance(module, TransformerBlock):
            module.spec = replace(module.spec, checkpoint_attn=attn, checkpoint_ffn=ffn)


def gradients(network, run=None):
    blur, spikes, sharp = small_inputs()
    network.zero_grad()
    out = (network if run is None else run)(blur, spikes)
    (out - sharp).square().mean().backward()
    return out.detach(), {n: p.grad.clone() for n, p in network.named_parameters()}


def assert_same(first, second, tolerance=1e-5):
    assert (first[0] - second[0]).abs().max() < tolerance
    for name, grad in first[1].items():
        assert (grad - second[1][name]).norm() <= tolerance * grad.norm() + 1e-9, name


@pytest.fixture(scope="module")
def plain():
    return gradients(small_network())


def test_checkpointing_gives_the_same_gradients(plain):
    network = small_network()
    set_checkpointing(network)
    assert_same(plain, gradients(network))


def test_checkpointing_is_not_forced():
    """Attention runs once per step unless asked otherwise, and twice when asked."""
    for wanted, recompute in ((1, False), (2, True)):
        group = BlockGroup(
            BlockSpec(dim=8, heads=2, window=(2, 4, 4), checkpoint_attn=recompute), [0.0]
        )
        calls = []
        group.blocks[0].attn.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        group(torch.randn(1, 2, 4, 4, 8, requires_grad=True)).sum().backward()
        assert len(calls) == wanted


def test_dropped_paths_are_the_same_when_recomputed():
    results = []
    for recompute in (False, True):
        torch.manual_seed(1)
        spec = BlockSpec(
            dim=8,
            heads=2,
            window=(2, 4, 4),
            checkpoint_attn=recompute,
            checkpoint_ffn=recompute,
        )
        group = BlockGroup(spec, [0.5, 0.5]).train()
        x = torch.randn(6, 2, 4, 4, 8, requires_grad=True)
        group(x).square().sum().backward()
        results.append(x.grad)
    assert torch.allclose(results[0], results[1], atol=1e-6)


def test_distributed_training_with_checkpointing(plain, tmp_path):
    network = small_network()
    set_checkpointing(network)
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(network)
        first = gradients(network, wrapped)
        second = gradients(network, wrapped)
    finally:
        dist.destroy_process_group()
    assert_same(plain, first)
    assert_same(plain, second)


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
def test_blocks_compile_without_a_graph_break(recompute):
    torch.manual_seed(0)
    spec = BlockSpec(
        dim=8,
        heads=2,
        window=(2, 4, 4),
        mutual=True,
        checkpoint_attn=recompute,
        checkpoint_ffn=recompute,
    )
    group = BlockGroup(spec, [0.0, 0.0])
    compiled = torch.compile(group, backend="aot_eager", fullgraph=True, dynamic=False)
    x = torch.randn(1, 3, 10, 12, 8)
    results = []
    for run in (group, compiled):
        group.zero_grad()
        out = run(x)
        out.square().mean().backward()
        results.append((out.detach(), {n: p.grad.clone() for n, p in group.named_parameters()}))
    assert_same(*results)


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
def test_the_whole_network_compiles_without_a_graph_break(plain, recompute):
    network = small_network()
    set_checkpointing(network, recompute, recompute)
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=False)
    assert_same(plain, gradients(network, compiled), 1e-3)


def test_bfloat16_autocast_is_finite_and_close():
    network = small_network("auto").eval()
    blur, spikes, _ = small_inputs()
    with torch.no_grad():
        wanted = network(blur, spikes)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = network(blur, spikes)
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    error = (out - wanted).square().mean().sqrt()
    assert 0 < error < 0.03 * (wanted - blur).square().mean().sqrt()


def test_bfloat16_autocast_trains():
    network = small_network("auto")
    blur, spikes, sharp = small_inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = (network(blur, spikes) - sharp).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


class CalledOperators(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def test_a_step_never_waits_for_the_device():
    """No value is read back, and no number is copied over, once the window plans exist."""
    network = small_network()
    blur, spikes, _ = small_inputs()
    network(blur, spikes)
    with CalledOperators() as called:
        network(blur, spikes).square().mean().backward()
    assert "aten::grid_sampler_2d" in called.names
    waiting = {"aten::_local_scalar_dense", "aten::lift_fresh", "aten::nonzero", "aten::item"}
    assert called.names & waiting == set()


def test_checkpointing_switches_have_their_place_in_the_settings():
    config = ModelConfig(vrt=CheckpointingConfig(use_checkpoint_ffn=True))
    assert (config.vrt.use_checkpoint_attn, config.vrt.use_checkpoint_ffn) == (False, True)
