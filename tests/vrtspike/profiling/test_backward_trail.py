"""The backward of each stage, on clocks that move when told."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from tests.vrtspike.profiling.stage_models import (
    BACKWARD,
    FORWARD,
    UNET,
    Spend,
    Stage,
    UNet,
    by_phase,
    check_laws,
    step,
)
from vrtspike.profiling.tensor_tree import MAX_TENSORS, tensors_of


@pytest.mark.parametrize("clock_kind", ["host", "device"])
@pytest.mark.parametrize("needs_grad", [True, False])
def test_each_stage_of_a_unet_gets_its_own_backward(
    new_recorder, clock, device, heard, clock_kind, needs_grad
):
    model = UNet(clock)
    timer = device.timer() if clock_kind == "device" else None
    with new_recorder(timer=timer) as recorder:
        recorder.observe(model, UNET)
        step(recorder, model, torch.ones(2, requires_grad=needs_grad), device=device)
    found = by_phase(heard)
    assert set(found) == {"forward", "backward"}
    assert found["forward"].ms == {**FORWARD, "forward.other": 1.5}
    assert found["backward"].ms == {**BACKWARD, "backward.other": 7000.0}
    assert found["backward"].calls == dict.fromkeys(UNET, 1)
    assert found["backward"].clock == clock_kind
    check_laws(heard)


@dataclass
class Bundle:
    tensor: torch.Tensor
    nothing: None = None


class Odd(Stage):
    """Gives back its result in all the ways there are."""

    def __init__(self, clock, form):
        super().__init__(clock, 1, 10)
        self.form = form

    def forward(self, x):
        y = super().forward(x)
        forms = {
            "tuple": lambda: (None, y, y * 2),
            "dict": lambda: {"a": [y], "b": None, "c": 3},
            "dataclass": lambda: Bundle(y),
            "view": lambda: y[:1],
            "passes its input on": lambda: (x, y),
            "twice the same": lambda: [y, y],
        }
        return forms[self.form]()


def first_of(value):
    return next(t for t in reversed(list(tensors_of(value))))


@pytest.mark.parametrize(
    "form", ["tuple", "dict", "dataclass", "view", "passes its input on", "twice the same"]
)
@pytest.mark.parametrize("in_place", [True, False])
def test_outputs_of_every_form_are_found(new_recorder, clock, heard, form, in_place):
    before, odd, after = Stage(clock, 1, 100), Odd(clock, form), Stage(clock, 1, 1000)

    def model(x):
        y = first_of(odd(Spend.apply(before(x), clock, 0, 3)))
        y = y.add_(1) if in_place else y + 1
        return after(Spend.apply(y, clock, 0, 5))

    holder = nn.ModuleDict({"before": before, "odd": odd, "after": after})
    with new_recorder() as recorder:
        recorder.observe(holder, {name: [name] for name in holder})
        step(recorder, model, torch.ones(2))
    assert by_phase(heard)["backward"].ms == {
        "before": 100.0,
        "odd": 10.0,
        "after": 1000.0,
        "backward.other": 8.0,
    }
    check_laws(heard)


def test_a_stage_that_changes_its_input_in_place_keeps_its_bounds(new_recorder, clock, heard):
    class InPlace(Stage):
        def forward(self, x):
            x.add_(1)
            x[:1].mul_(self.weight)
            return Spend.apply(x, self.clock, *self.ms)

    before, stage = Stage(clock, 1, 100), InPlace(clock, 2, 20)
    holder = nn.ModuleDict({"before": before, "stage": stage})
    with new_recorder() as recorder:
        recorder.observe(holder, {name: [name] for name in holder})
        glue = [Spend, clock]
        step(
            recorder,
            lambda x: stage(glue[0].apply(before(x), clock, 0, 7) * 1),
            torch.ones(2),
        )
    assert by_phase(heard)["backward"].ms == {
        "before": 100.0,
        "stage": 20.0,
        "backward.other": 7.0,
    }


def test_keyword_inputs_bound_a_stage_too(new_recorder, clock, heard):
    a, b = Stage(clock, 1, 10), Stage(clock, 2, 20)
    holder = nn.ModuleDict({"a": a, "b": b})
    with new_recorder() as recorder:
        recorder.observe(holder, {"a": ["a"], "b": ["b"]})
        constant = torch.zeros(2)
        step(
            recorder,
            lambda x: b(constant, skip=Spend.apply(a(x), clock, 0, 5)),
            torch.ones(2),
        )
    assert by_phase(heard)["backward"].ms == {"a": 10.0, "b": 20.0, "backward.other": 5.0}


def test_a_stage_called_often_and_micro_batches_are_summed(new_recorder, clock, heard):
    a, b = Stage(clock, 1, 10), Stage(clock, 2, 20)
    holder = nn.ModuleDict({"a": a, "b": b})
    with new_recorder() as recorder:
        recorder.observe(holder, {"a": ["a"], "b": ["b"]})
        recorder.begin_step(1)
        outputs = []
        for _ in range(2):
            with recorder.phase("forward"):
                outputs.append(a(b(a(torch.ones(2)))).sum())
            if len(outputs) == 1:
                with recorder.phase("backward"):
                    outputs[0].backward(retain_graph=True)
        with recorder.phase("backward"):  # the second, and the first once more
            (outputs[0] + outputs[1]).backward()
        recorder.end_step(micro_batches=2, samples=2)
    record = by_phase(heard)["backward"]
    assert record.ms == {"a": 60.0, "b": 60.0, "backward.other": 0.0}
    assert record.calls == {"a": 4, "b": 2}
    check_laws(heard)


def test_a_stage_inside_another_counts_for_itself_alone(new_recorder, clock, heard):
    inner = Stage(clock, 1, 10)
    model = nn.Sequential(Stage(clock, 2, 20, inner), Stage(clock, 4, 40))
    paths = {"outer": ["0"], "inner": ["0.inner"], "last": ["1"]}
    with new_recorder() as recorder:
        recorder.observe(model, paths)
        step(recorder, model, torch.ones(2))
    record = by_phase(heard)["backward"]
    assert record.ms == {"outer": 20.0, "inner": 10.0, "last": 40.0, "backward.other": 0.0}
    assert record.calls == {"outer": 1, "inner": 1, "last": 1}


def test_validation_with_gradients_never_mixes_in(new_recorder, clock, heard):
    model = UNet(clock)
    with new_recorder() as recorder:
        recorder.observe(model, UNET)
        step(recorder, model, torch.ones(2))
        with recorder.span("validation"), recorder.phase("forward"):
            y = model(torch.ones(2))
        with recorder.span("validation"), recorder.phase("backward"):
            y.sum().backward()
        step(recorder, model, torch.ones(2), number=2)
    assert [r.ms for r in heard.stages[:2]] == [r.ms for r in heard.stages[2:]]


def test_an_exception_in_the_backward_closes_the_stage(new_recorder, clock, heard):
    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            clock.pass_ms(3)
            raise ArithmeticError("overflow")

    class Fragile(Stage):
        def forward(self, x):
            return super().forward(Breaks.apply(x))

    model = nn.Sequential(Stage(clock, 1, 10), Fragile(clock, 2, 20))
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0"], "b": ["1"]})
        for number in (1, 2):
            recorder.begin_step(number)
            with recorder.phase("forward"):
                y = model(torch.ones(2))
            with pytest.raises(ArithmeticError), recorder.phase("backward"):
                y.sum().backward()
            clock.pass_ms(100)
            recorder.end_step(micro_batches=1, samples=1)
    for record in (r for r in heard.stages if r.phase == "backward"):
        assert record.ms == {"b": 23.0, "backward.other": 0.0}
        assert record.calls == {"a": 0, "b": 1}


def test_a_phase_inside_the_backward_is_not_the_stages(new_recorder, clock, heard):
    model = nn.Sequential(Stage(clock, 1, 10), Stage(clock, 2, 20))
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0"], "b": ["1"]})

        def exchange(gradient):
            with recorder.phase("optimizer"):
                clock.pass_ms(7)

        model[1].weight.register_hook(exchange)
        step(recorder, model, torch.ones(2))
    assert by_phase(heard)["backward"].ms == {"a": 10.0, "b": 20.0, "backward.other": 0.0}
    assert heard.steps[0].host_ms["optimizer"] == 7
    check_laws(heard)


def test_what_follows_the_last_node_belongs_to_no_stage(new_recorder, clock, heard):
    """Waiting for the gradients of other ranks happens in a callback at the end."""
    from torch.autograd.variable import Variable

    model = nn.Sequential(Stage(clock, 1, 10))

    def wait(gradient):
        Variable._execution_engine.queue_callback(lambda: clock.pass_ms(50))

    model[0].weight.register_hook(wait)
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0"]})
        step(recorder, model, torch.ones(2))
    assert by_phase(heard)["backward"].ms == {"a": 10.0, "backward.other": 50.0}


def test_no_record_of_a_backward_that_never_came_to_a_stage(new_recorder, clock, heard):
    model = Stage(clock, 1, 10)
    model.requires_grad_(False)
    with new_recorder() as recorder:
        recorder.observe(nn.Sequential(model), {"a": ["0"]})
        step(recorder, model, torch.ones(2))
    assert set(by_phase(heard)) == {"forward"}


def test_many_tensors_are_not_all_looked_at():
    lots = [torch.zeros(1)] * 1000
    assert len(list(tensors_of({"a": lots, "b": lots}))) == MAX_TENSORS
    deep = torch.zeros(1)
    for _ in range(10):
        deep = [deep]
    assert list(tensors_of(deep)) == []
    assert math.isclose(len(list(tensors_of((None, "x", 3, [torch.zeros(1)])))), 1)
