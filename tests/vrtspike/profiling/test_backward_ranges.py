"""The ranges of a stage's backward and recomputation, as a trace or NVTX would show them."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from tests.vrtspike.profiling.stage_models import UNET, Stage, UNet
from vrtspike.profiling.module_hooks import StageHooks
from vrtspike.profiling.timers import HostTimer


class FakeRanges:
    """Remembers what was opened and closed, in order; a range may be closed once."""

    def __init__(self):
        self.said, self.open_now = [], []

    def open(self, name):
        self.said.append(("open", name))
        self.open_now.append(name)
        return name

    def close(self, span):
        if span is not None:
            self.said.append(("close", span))
            self.open_now.remove(span)


@pytest.fixture
def ranges():
    return FakeRanges()


@pytest.fixture
def hooks(clock, ranges):
    return StageHooks(HostTimer(clock), ranges)


def forward(hooks, run):
    hooks.mode = "forward"
    loss = run().sum()
    hooks.phase_ends()
    hooks.mode = None
    return loss


def backward(hooks, loss):
    hooks.mode = "backward"
    loss.backward()
    hooks.phase_ends()
    hooks.mode = None


def pairs(names):
    return [said for name in names for said in (("open", name), ("close", name))]


def test_each_stage_has_one_range_of_its_backward_in_reverse_order(hooks, ranges, clock):
    model = torch.nn.Sequential(Stage(clock, 1, 1), Stage(clock, 1, 1), Stage(clock, 1, 1))
    hooks.attach(model, {"a": ["0"], "b": ["1"], "c": ["2"]})
    loss = forward(hooks, lambda: model(torch.ones(2)))
    assert ranges.said == pairs("abc")
    ranges.said.clear()
    backward(hooks, loss)
    assert ranges.said == pairs(["c.backward", "b.backward", "a.backward"])


def test_a_recomputation_interrupts_the_range_it_lies_in(hooks, ranges, clock):
    model = torch.nn.Sequential(Stage(clock, 1, 1), Stage(clock, 1, 1))
    hooks.attach(model, {"a": ["0"], "b": ["1"]})

    def run():
        return model[1](checkpoint(model[0], torch.ones(2), use_reentrant=False))

    loss = forward(hooks, run)
    ranges.said.clear()
    backward(hooks, loss)
    said = [name for what, name in ranges.said if what == "open"]
    assert said[0] == "b.backward"
    assert "a.recompute" in said
    assert said[-1] == "a.backward"
    assert ranges.said == pairs(said)


def test_no_range_stays_open_when_the_backward_fails(hooks, ranges, clock):
    model = UNet(clock)
    hooks.attach(model, UNET)
    loss = forward(hooks, lambda: model(torch.ones(2)))
    first = next(iter(model.children()))
    next(first.parameters()).register_hook(lambda gradient: 1 / 0)
    hooks.mode = "backward"
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    assert len(ranges.open_now) == 1
    hooks.phase_ends()
    assert ranges.open_now == []
