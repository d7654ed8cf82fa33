"""The backward of each stage and what is recomputed, on clocks that move when told."""

import gc
import math
import weakref
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from vrtspike.profiling.tensor_tree import MAX_TENSORS, tensors_of


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


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_of_whole_stages_is_a_number_of_its_own(
    new_recorder, clock, heard, reentrant
):
    def run(stage, *args):
        return checkpoint(stage, *args, use_reentrant=reentrant)

    model = UNet(clock, run)
    with new_recorder() as recorder:
        recorder.observe(model, UNET)
        step(recorder, model, torch.ones(2, requires_grad=True))
    found = by_phase(heard)
    assert found["forward"].ms == {**FORWARD, "forward.other": 1.5}
    assert found["recompute"].ms == FORWARD
    assert found["recompute"].calls == dict.fromkeys(UNET, 1)
    assert found["backward"].ms == {**BACKWARD, "backward.other": 7000.0}
    check_laws(heard)


class PartlyRecomputed(nn.Module):
    """Checkpoints a half of itself, as transformer blocks do."""

    def __init__(self, clock, context):
        super().__init__()
        self.kept, self.again, self.context = Stage(clock, 3, 30), Stage(clock, 5, 50), context

    def forward(self, x):
        return checkpoint(self.again, self.kept(x), use_reentrant=False, context_fn=self.context)


def test_parts_recomputed_inside_a_stage_are_seen_through_the_context(new_recorder, clock, heard):
    with new_recorder() as recorder:
        context = recorder.checkpoint_context
        model = nn.Sequential(*(PartlyRecomputed(clock, context) for _ in range(2)))
        recorder.observe(model, {"a": ["0"], "b": ["1"]})
        step(recorder, model, torch.ones(2))
        with torch.enable_grad():  # outside of the phases the context does nothing
            model(torch.ones(2)).sum().backward()
    found = by_phase(heard)
    assert found["forward"].ms == {"a": 8.0, "b": 8.0, "forward.other": 0.0}
    assert found["recompute"].ms == {"a": 5.0, "b": 5.0}
    assert found["backward"].ms == {"a": 80.0, "b": 80.0, "backward.other": 0.0}
    check_laws(heard)


def test_what_is_recomputed_outside_the_stages_has_a_name(new_recorder, clock, heard):
    with new_recorder() as recorder:
        inside, outside = Stage(clock, 3, 30), Stage(clock, 5, 50)
        both = nn.Sequential(inside, outside)
        model = nn.Module()
        model.both = both
        recorder.observe(model, {"a": ["both.0"]})

        def run(x):
            context = recorder.checkpoint_context
            return checkpoint(both, x, use_reentrant=False, context_fn=context)

        step(recorder, run, torch.ones(2))
    found = by_phase(heard)
    assert found["recompute"].ms == {"a": 3.0, "recompute.other": 5.0}
    assert found["recompute"].calls == {"a": 1}
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


class Tree(nn.Module):
    """A random nesting: stages, glue, recomputed parts; `shape` is its plan."""

    def __init__(self, clock, shape, context, path="s"):
        super().__init__()
        self.clock, self.context, self.path = clock, context, path
        self.forward_ms, self.backward_ms, self.kind, children = shape
        self.children_ = nn.ModuleList(
            Tree(clock, child, context, f"{path}{i}") for i, child in enumerate(children)
        )
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        if self.kind == "reentrant" and x.requires_grad:
            return checkpoint(self._body, x, use_reentrant=True)
        if self.kind == "recomputed":
            return checkpoint(self._body, x, use_reentrant=False, context_fn=self.context)
        return self._body(x)

    def _body(self, x):
        x = Spend.apply(x * self.weight, self.clock, self.forward_ms, self.backward_ms)
        skip = x
        for child in self.children_:
            x = child(x)
        return torch.sin(x) + skip

    def trees(self):
        yield self
        for child in self.children_:
            yield from child.trees()


KINDS = st.sampled_from(["stage", "glue", "recomputed", "reentrant"])
TIMES = st.integers(0, 9)
SHAPES = st.recursive(
    st.tuples(TIMES, TIMES, KINDS, st.just(())),
    lambda inner: st.tuples(TIMES, TIMES, KINDS, st.lists(inner, max_size=3).map(tuple)),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shape=SHAPES, needs_grad=st.booleans(), on_device=st.booleans())
def test_random_nestings_sum_to_their_phases(
    new_recorder, clock, device, heard, shape, needs_grad, on_device
):
    heard.steps.clear()
    heard.stages.clear()
    with new_recorder(timer=device.timer() if on_device else None) as recorder:
        model = nn.Sequential(Tree(clock, shape, recorder.checkpoint_context))
        stages = {t.path: t for t in model[0].trees() if t.kind != "glue"}
        names = {m: n for n, m in model.named_modules()}
        recorder.observe(model, {path: [names[t]] for path, t in stages.items()})
        for number in (1, 2):
            x = torch.ones(2, requires_grad=needs_grad)
            step(recorder, model, x, number=number, device=device)
    if not stages:
        assert heard.stages == []
        return
    check_laws(heard)
    if all(t.kind == "stage" for t in model[0].trees()):  # then every number is known
        expected = {path: float(tree.backward_ms) for path, tree in stages.items()}
        assert heard.stages[1].ms == {**expected, "backward.other": 0.0}


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
