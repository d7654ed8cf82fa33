import contextlib
import math

import pytest
import torch

from vrtspike.engine.distributed import World
from vrtspike.engine.numerics import (
    MAX_OVERFLOWS_IN_A_ROW,
    NumericsError,
    NumericsGuard,
    Reporting,
    SideReader,
    combine,
    first_bad_tensor,
)

CPU = torch.device("cpu")
NAMES = ("charb",)


def figures(loss: float = 0.5, grad_norm: float = 1.0, *, stop: bool = False):
    losses = torch.tensor([loss, loss])
    return combine(World(CPU), losses, NAMES, torch.tensor(grad_norm), stop=stop)


def make_guard(said: list[str], *, fp16: bool = False, lag: int = 0) -> NumericsGuard:
    reporting = Reporting(said.append, lambda name, **values: None)
    return NumericsGuard(
        World(CPU), reporting, lambda batches: "vrt.stage3 output", fp16=fp16, lag=lag
    )


def test_good_steps_pass_in_silence():
    said: list[str] = []
    guard = make_guard(said)
    guard.add(1, figures(), [])
    guard.review()
    assert said == []
    assert not guard.stop_agreed


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (figures(loss=math.nan), "step 12: loss is nan (first bad tensor: vrt.stage3 output)"),
        (figures(loss=math.inf), "step 12: loss is inf (first bad"),
        (figures(grad_norm=math.nan), "step 12: a gradient is not finite (first bad"),
    ],
)
def test_a_bad_step_stops_the_run_and_names_step_and_tensor(bad, words):
    said: list[str] = []
    guard = make_guard(said)
    assert bad.bad.item() == 1.0
    guard.add(12, bad, [])
    with pytest.raises(NumericsError, match=r"^step 12: .*nothing was saved after it"):
        guard.review()
    assert words in said[0]
    assert said[0].startswith("[numerics] ")


def test_on_a_gpu_a_step_is_judged_one_step_later_or_before_a_checkpoint():
    said: list[str] = []
    guard = make_guard(said, lag=1)
    guard.add(1, figures(loss=math.nan), [])
    guard.review()
    assert said == []
    guard.add(2, figures(), [])
    with pytest.raises(NumericsError, match="step 1"):
        guard.review()
    guard = make_guard(said, lag=1)
    guard.add(7, figures(loss=math.nan), [])
    with pytest.raises(NumericsError, match="step 7"):
        guard.review(everything=True)


def test_float16_overflows_are_counted_and_said_but_not_without_end():
    said: list[str] = []
    guard = make_guard(said, fp16=True)
    guard.add(1, figures(grad_norm=math.inf), [])
    guard.add(2, figures(), [])
    guard.review()
    assert guard.overflows == 1
    assert "step 1: a gradient is not finite in float16: update left out" in said[0]
    for step in range(MAX_OVERFLOWS_IN_A_ROW):
        guard.add(step, figures(grad_norm=math.inf), [])
    guard.review()
    guard.add(99, figures(grad_norm=math.inf), [])
    with pytest.raises(NumericsError, match="step 99"):
        guard.review()


def test_a_wish_to_stop_is_heard_with_the_figures():
    guard = make_guard([])
    guard.add(1, figures(stop=True), [])
    guard.review()
    assert guard.stop_agreed


def test_the_first_bad_tensor_is_a_weight_then_data_then_an_output_then_a_gradient(learner, batch):
    one = learner()
    good = batch(1)
    assert first_bad_tensor(one.model, [good], one.loss_of) is None
    broken = {**good, "spike_vox": good["spike_vox"] * math.nan}
    name = first_bad_tensor(one.model, [good, broken], one.loss_of)
    assert name == "spike_vox of the data, clip ['clip1']"
    body = one.model.body
    handle = body.register_forward_hook(lambda module, inputs, output: output * math.inf)
    assert first_bad_tensor(one.model, [good], one.loss_of) == "body output"
    handle.remove()
    body.weight.register_hook(lambda gradient: gradient * math.nan)
    assert first_bad_tensor(one.model, [good], one.loss_of) == "gradient of body.weight"
    assert body.weight.grad is None
    with torch.no_grad():
        one.model.tail.bias[0] = math.nan
    assert first_bad_tensor(one.model, [good], one.loss_of) == "weight tail.bias"


def test_the_loop_keeps_the_weights_and_the_backward_of_nan_is_never_run(bench, batch):
    broken = batch(1)
    broken["blur"][0, 0, 0, 0, 0] = math.nan
    one = bench([batch(0), broken], 2)
    reached = []
    hook = one.learner.model.tail.weight.register_hook(reached.append)
    with pytest.raises(NumericsError, match=r"step 2: loss is nan \(first bad tensor: blur of"):
        one.train()
    hook.remove()
    assert len(reached) == 1
    assert all(torch.isfinite(p).all() for p in one.learner.model.parameters())
    assert one.events[0][0] == "not_finite"
    assert one.saver.saved == []


def test_a_fused_optimizer_leaves_a_bad_step_out_by_itself(learner, batch):
    """As on a GPU, where nobody may wait for the flag; PyTorch has the fused kernel on CPUs too."""
    one = learner()
    optimizer = torch.optim.AdamW(one.model.parameters(), lr=0.1, fused=True)
    object.__setattr__(one, "optimizer", optimizer)

    def step(bad: float) -> list[torch.Tensor]:
        one.backward(one.loss_of(batch(1)))
        one.update(0.1, torch.tensor(bad))
        return [parameter.detach().clone() for parameter in one.model.parameters()]

    first = step(0.0)
    left_out = step(1.0)
    taken = step(0.0)
    assert all(torch.equal(a, b) for a, b in zip(first, left_out, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(left_out, taken, strict=True))
    assert not hasattr(optimizer, "found_inf")


def test_the_side_reader_waits_for_its_own_moment_only(monkeypatch):
    """CUDA through stand-ins: the read happens on a stream that waited for the event of `take`."""
    happened = []

    class Event:
        def record(self):
            happened.append("recorded")

    class Stream:
        def __init__(self, device):
            self.device = device

        def wait_event(self, event):
            happened.append(("waited", event))

    @contextlib.contextmanager
    def current(stream):
        happened.append(("on", stream))
        yield

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", current)
    reader = SideReader(torch.device("cuda", 0))
    read = reader.take(torch.tensor([1.0, 2.0]))
    assert happened == ["recorded"]
    assert read() == [1.0, 2.0]
    (_, (what, stream), (waited, event)) = happened
    assert (what, waited) == ("on", "waited")
    assert isinstance(stream, Stream)
    assert isinstance(event, Event)


def test_with_a_lag_the_loop_still_stops_before_anything_is_saved(bench, batch):
    broken = batch(1)
    broken["sharp"][0, 0, 0, 0, 0] = math.inf
    one = bench([batch(0), broken], 2)
    optimizer = torch.optim.AdamW(one.learner.model.parameters(), lr=0.1, fused=True)
    object.__setattr__(one.learner, "optimizer", optimizer)
    guard = NumericsGuard(
        World(CPU), Reporting(one.said.append, lambda name, **values: None), lambda _: None, lag=1
    )
    with pytest.raises(NumericsError, match=r"step 2: .* \(first bad tensor: none when"):
        one.train(guard=guard)
    assert all(torch.isfinite(p).all() for p in one.learner.model.parameters())
    assert one.saver.saved == []
