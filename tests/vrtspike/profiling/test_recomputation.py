"""What is recomputed in the backward pass is a number of its own."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

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
