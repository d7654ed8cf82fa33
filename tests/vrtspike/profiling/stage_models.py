"""Models whose stages take a known time of a fake clock, in each direction."""

import pytest
import torch
from torch import nn


class Spend(torch.autograd.Function):
    """Takes a known time of the fake clock, forward and backward; keeps its input."""

    @staticmethod
    def forward(ctx, x, clock, forward_ms, backward_ms):
        ctx.clock, ctx.backward_ms = clock, backward_ms
        ctx.save_for_backward(x)
        clock.pass_ms(forward_ms)
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient):
        ctx.saved_tensors  # noqa: B018  # unpacking is what starts a recomputation
        ctx.clock.pass_ms(ctx.backward_ms)
        return gradient * 1.0, None, None, None


class Stage(nn.Module):
    """Spends a time in each direction; has a weight; adds what it is given."""

    def __init__(self, clock, forward_ms, backward_ms, inner=None):
        super().__init__()
        self.clock, self.ms, self.inner = clock, (forward_ms, backward_ms), inner
        self.weight = nn.Parameter(torch.full((1,), 1.5))

    def forward(self, x, *more, skip=None):
        for each in (*more, skip):
            x = x if each is None else x + each
        x = Spend.apply(x * self.weight, self.clock, *self.ms)
        x = torch.sin(x)
        return x if self.inner is None else self.inner(x)


class UNet(nn.Module):
    """Three levels with skips and glue of its own between the stages."""

    def __init__(self, clock, run=None):
        super().__init__()
        self.clock = clock
        self.run = run or (lambda stage, *args: stage(*args))
        self.down1, self.down2 = Stage(clock, 1, 10), Stage(clock, 2, 20)
        self.bottom = Stage(clock, 4, 40)
        self.up2, self.up1 = Stage(clock, 8, 80), Stage(clock, 16, 160)

    def glue(self, x, ms):
        return Spend.apply(x, self.clock, 0.5, ms)

    def forward(self, x):
        one = self.run(self.down1, x)
        two = self.run(self.down2, self.glue(one, 1000))
        low = self.glue(self.run(self.bottom, two), 2000)
        high = self.run(self.up2, low, two)
        return self.glue(self.run(self.up1, high, one), 4000)


UNET = {name: [name] for name in ("down1", "down2", "bottom", "up2", "up1")}
FORWARD = {"down1": 1, "down2": 2, "bottom": 4, "up2": 8, "up1": 16}
BACKWARD = {name: 10 * ms for name, ms in FORWARD.items()}


def step(recorder, model, x, *, number=1, device=None):
    """One step: forward, loss, backward."""
    recorder.begin_step(number)
    with recorder.phase("forward"):
        y = model(x)
    with recorder.phase("loss"):
        loss = y.sum()
    with recorder.phase("backward"):
        if loss.requires_grad:
            loss.backward()
    recorder.end_step(micro_batches=1, samples=1)
    if device is not None:
        device.reach_all()


def by_phase(heard):
    return {record.phase: record for record in heard.stages}


def check_laws(heard):
    """Stages sum to forward and backward, phases to the step."""
    for each in heard.steps:
        spent = each.device_ms or each.host_ms
        stages = {s.phase: s for s in heard.stages if s.step == each.step}
        assert sum(v for k, v in spent.items() if k != "step") == pytest.approx(spent["step"])
        assert sum(stages["forward"].ms.values()) == pytest.approx(spent["forward"])
        if "backward" in stages:
            parts = [
                sum(stages[direction].ms.values())
                for direction in ("backward", "recompute")
                if direction in stages
            ]
            assert sum(parts) == pytest.approx(spent["backward"])
        assert all(ms >= 0 for s in stages.values() for ms in s.ms.values())
