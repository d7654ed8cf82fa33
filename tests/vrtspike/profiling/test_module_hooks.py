"""Stages are timed from outside the model, each run of a stage once."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vrtspike.profiling.module_hooks import StageHooks
from vrtspike.profiling.timers import HostTimer, sum_by_name


class Slow(nn.Module):
    def __init__(self, clock, ms, inner=None):
        super().__init__()
        self.clock, self.ms, self.inner = clock, ms, inner

    def forward(self, x):
        self.clock.pass_ms(self.ms)
        return x if self.inner is None else self.inner(x)


@pytest.fixture
def hooks(clock):
    hooks = StageHooks(HostTimer(clock))
    hooks.mode = "forward"
    return hooks


def taken(hooks, clock):
    times = hooks.take()
    return sum_by_name(HostTimer(clock), times.intervals), times.calls


def test_nested_modules_of_one_stage_count_once(hooks, clock):
    model = nn.Sequential(Slow(clock, 4, inner=Slow(clock, 6)))
    hooks.attach(model, {"a": ["0", "0.inner"]})
    model(torch.zeros(1))
    assert taken(hooks, clock) == ({"a": 10.0}, {"a": 1})


def test_a_stage_within_another_counts_for_itself_alone(hooks, clock):
    model = nn.Sequential(Slow(clock, 4, inner=Slow(clock, 6)))
    hooks.attach(model, {"outer": ["0"], "inner": ["0.inner"]})
    model(torch.zeros(1))
    assert taken(hooks, clock) == ({"inner": 6.0, "outer": 4.0}, {"outer": 1, "inner": 1})


def test_a_stage_that_never_ran_has_no_time_and_no_calls(hooks, clock):
    model = nn.ModuleDict({"used": Slow(clock, 1), "spare": Slow(clock, 1)})
    hooks.attach(model, {"used": ["used"], "spare": ["spare"]})
    model["used"](torch.zeros(1))
    assert taken(hooks, clock) == ({"used": 1.0}, {"used": 1, "spare": 0})
    assert hooks.silent == ("spare",)


def test_nothing_is_counted_unless_asked(hooks, clock):
    model = nn.Sequential(Slow(clock, 1))
    hooks.attach(model, {"a": ["0"]})
    hooks.mode = None
    model(torch.zeros(1))
    assert taken(hooks, clock) == ({}, {"a": 0})


def test_recomputation_in_the_backward_is_not_forward_time(hooks, clock):
    model = nn.Sequential(nn.Sequential(Slow(clock, 5), nn.Linear(2, 2)))
    hooks.attach(model, {"a": ["0"]})
    x = torch.ones(2, requires_grad=True)
    y = checkpoint(model, x, use_reentrant=False)
    hooks.mode = None
    y.sum().backward()
    assert clock.now_ns == 5_010_000_000
    assert taken(hooks, clock) == ({"a": 5.0}, {"a": 1})


def test_a_stage_that_raises_is_closed_at_once(hooks, clock):
    class Breaks(nn.Module):
        def forward(self, x):
            clock.pass_ms(3)
            raise ArithmeticError

    model = nn.Sequential(Breaks())
    hooks.attach(model, {"a": ["0"]})
    with pytest.raises(ArithmeticError):
        model(torch.zeros(1))
    clock.pass_ms(100)
    assert taken(hooks, clock) == ({"a": 3.0}, {"a": 1})


def test_a_foreign_hook_that_raises_leaves_no_stage_open(hooks, clock):
    model = nn.Sequential(Slow(clock, 4, inner=nn.Sequential(Slow(clock, 6))))
    hooks.attach(model, {"outer": ["0"], "inner": ["0.inner"]})

    def breaks(module, args):
        clock.pass_ms(1)
        raise ArithmeticError

    handle = model[0].inner.register_forward_pre_hook(breaks)
    with pytest.raises(ArithmeticError):
        model(torch.zeros(1))
    handle.remove()
    model(torch.zeros(1))
    times, calls = taken(hooks, clock)
    assert times["outer"] + times["inner"] == 15.0
    assert calls == {"outer": 2, "inner": 2}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["0.missing"], "stage 'a': the model has no submodule '0.missing'"),
        (["1"], "stage 'a': '1' is a container and is never called itself"),
    ],
)
def test_paths_that_cannot_be_timed_are_refused(hooks, clock, paths, message):
    model = nn.Sequential(Slow(clock, 1), nn.ModuleList([Slow(clock, 1)]))
    with pytest.raises(ValueError, match=message):
        hooks.attach(model, {"a": paths})
    assert not model[0]._forward_hooks


def test_stages_inside_a_compiled_region_stay_silent_instead_of_wrong(hooks, clock):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    hooks.attach(model, {"a": ["0"]})
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(torch.zeros(1, 2))
    with torch.compiler.set_stance("fail_on_recompile"):
        hooks.mode = None
        compiled(torch.zeros(1, 2))
        hooks.mode = "forward"
        compiled(torch.zeros(1, 2))
    assert hooks.take().calls == {"a": 0}
    assert hooks.silent == ("a",)
