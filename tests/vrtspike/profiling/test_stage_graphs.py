"""Watching the backward pass changes no result and keeps nothing alive."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.vrtspike.profiling.stage_models import (
    UNET,
    Stage,
    UNet,
    by_phase,
    step,
)


def gradients(model, x):
    model.zero_grad()
    y = model(x)
    y.square().sum().backward()
    return [y.detach().clone(), *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("reentrant", [None, True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_results_are_the_same_bit_for_bit(new_recorder, clock, reentrant, autocast):
    def run(stage, *args):
        if reentrant is None:
            return stage(*args)
        return checkpoint(stage, *args, use_reentrant=reentrant)

    class Net(UNet):
        def __init__(self):
            super().__init__(clock, run)
            self.mix = nn.Linear(7, 7)

        def forward(self, x):
            with torch.autocast("cpu", enabled=autocast):
                return super().forward(self.mix(x))

    torch.manual_seed(0)
    model, x = Net(), torch.randn(3, 7, requires_grad=True)
    plain = gradients(model, x)
    with new_recorder() as recorder:
        recorder.observe(model, UNET)
        recorder.begin_step(1)
        with recorder.phase("forward"):
            y = model(x)
        model.zero_grad()
        with recorder.phase("backward"):
            y.square().sum().backward()
        recorder.end_step(micro_batches=1, samples=1)
    watched = [y.detach(), *(p.grad for p in model.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def alive_after_forward(recorder, model):
    """Which outputs live on after the forward; and after the backward, nothing may."""
    kept = []
    handles = [
        stage.register_forward_hook(lambda m, a, out: kept.append(weakref.ref(out)))
        for stage in (model.down1, model.down2, model.bottom, model.up2, model.up1)
    ]
    gc.collect()
    gc.disable()  # reference counts alone must do it
    try:
        with recorder.phase("forward"):
            y = model(torch.ones(2))
        alive, node = [ref() is not None for ref in kept], weakref.ref(y.grad_fn)
        with recorder.phase("backward"):
            y.sum().backward()
        del y
        assert node() is None
        assert all(ref() is None for ref in kept)
    finally:
        gc.enable()
        for handle in handles:
            handle.remove()
    return alive


def test_hooks_keep_no_tensor_alive(new_recorder, clock):
    model = UNet(clock)
    with new_recorder() as recorder:
        recorder.begin_step(1)
        plain = alive_after_forward(recorder, model)
        recorder.observe(model, UNET)
        assert alive_after_forward(recorder, model) == plain
        recorder.end_step(micro_batches=1, samples=1)


def test_nothing_grows_with_the_steps(new_recorder, clock, device):
    import tracemalloc

    class Deaf:
        def on_step(self, step, stages):
            pass

        def close(self):
            pass

    model, x = UNet(clock), torch.ones(2)
    with new_recorder(listeners=(Deaf(),), timer=device.timer()) as recorder:
        recorder.observe(model, UNET)

        def steps(first, count):
            for number in range(first, first + count):
                step(recorder, model, x, number=number, device=device)
                model.zero_grad()

        tracemalloc.start()
        steps(1, 60)
        gc.collect()
        made = len(device.events)
        before = tracemalloc.get_traced_memory()[0]
        steps(61, 300)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert len(device.events) == made
    assert grown < 300 * 100  # bytes: less than a stretch of each step would need


@pytest.mark.slow
def test_compiled_stages_are_timed_as_a_whole(new_recorder, clock, heard):
    model = nn.Sequential(nn.Linear(2, 2), Stage(clock, 1, 10), nn.Linear(2, 2))
    model[0].forward = torch.compile(model[0].forward, backend="aot_eager")
    with new_recorder() as recorder:
        recorder.observe(model, {"compiled": ["0"], "plain": ["1"]})
        step(recorder, model, torch.ones(3, 2))
    record = by_phase(heard)["backward"]
    assert record.calls == {"compiled": 1, "plain": 1}
    assert record.ms["plain"] == 10.0
