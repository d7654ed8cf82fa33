"""`vrtspike.profiling.record`: what loops of one's own leave behind."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.vrtspike.profiling.session_bench import Bench

PHASES = ("data_wait", "h2d", "forward", "loss", "backward", "optimizer", "other")


def test_a_loop_that_names_nothing_still_gets_its_phases_and_stages(bench: Bench) -> None:
    with bench.record() as run:
        run.observe(bench.net)
        for batch in run.wrap(bench.loader):
            bench.train_step(run, batch)
            bench.clock.pass_ms(3)
    for step, other in ((1, {}), (2, {"other": 3.0})):
        expected = {"data_wait": 80.0, "forward": 40.0, "backward": 70.0, "optimizer": 5.0, **other}
        assert bench.phases(step) == {**expected, "step": sum(expected.values())}
    forward = [line for line in bench.lines("stages") if line["phase"] == "forward"]
    assert [line["ms"] for line in forward] == 2 * [
        {"encoder": 30.0, "blocks.0": 10.0, "forward.other": 0.0}
    ]
    backward = [line for line in bench.lines("stages") if line["phase"] == "backward"]
    for line in backward:
        assert (line["ms"]["encoder"], line["ms"]["blocks.0"]) == (50.0, 20.0)
        assert sum(line["ms"].values()) == 70.0
    assert len(backward) == 2
    assert bench.meta["stages"] == ["encoder", "blocks.0"]
    assert (bench.meta["trainer"], bench.meta["name"]) == ("own", "bench")


def test_what_the_loop_names_itself_is_left_alone(bench: Bench) -> None:
    with bench.record() as run:
        run.observe(bench.net, ["encoder"])
        with run.phase("loss"):
            loss = bench.net(torch.ones(1, 2)).mean()
        with run.phase("backward"):
            loss.backward()
        with run.phase("h2d"):
            bench.optimizer.step()
        run.step(loss=loss)
    expected = {"loss": 40.0, "backward": 70.0, "h2d": 5.0, "step": 115.0}
    assert bench.phases(1) == expected


def test_a_stage_called_without_its_model_is_forward(bench: Bench) -> None:
    with bench.record() as run:
        run.observe(bench.net, {"both": ["encoder", "blocks.0"]})
        bench.net.blocks[0](bench.net.encoder(torch.ones(1, 2))).sum().backward()
        run.step()
    assert bench.phases(1) == {"forward": 40.0, "backward": 70.0, "step": 110.0}
    assert bench.lines("stages")[0]["ms"] == {"both": 40.0, "forward.other": 0.0}


def test_accumulation_is_one_step_of_several_batches(bench: Bench) -> None:
    with bench.record() as run:
        run.observe(bench.net)
        for batch in run.wrap(bench.loader):
            bench.net(batch).mean().backward()
        bench.optimizer.step()
        run.step(samples=8)
    (step,) = bench.lines("step")
    assert (step["micro_batches"], step["samples"]) == (2, 8)
    assert bench.phases(1)["forward"] == 80.0
    assert len(step["loader"]["fetches"]) == 2


class LanguageModel(nn.Module):
    """Gives its loss among its outputs, as the models of large libraries do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.transformer = net

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.transformer(inputs)
        return {"loss": (logits - labels).square().mean(), "logits": logits}


def test_a_model_that_computes_its_loss_itself(bench: Bench) -> None:
    model = LanguageModel(bench.net)
    with bench.record() as run:
        run.observe(model, {"all": ["transformer"]})
        for _ in range(2):  # two batches that no loader was wrapped for
            x = torch.ones(4, 2)
            output = model(inputs=x, labels=x)
            output["loss"].backward()
        bench.optimizer.step()
        run.step(loss=output["loss"], samples=8)
    assert bench.phases(1) == {"forward": 80.0, "backward": 140.0, "optimizer": 5.0, "step": 225.0}
    assert bench.lines("step")[0]["micro_batches"] == 2


def test_epochs_and_what_lies_between_them(bench: Bench) -> None:
    with bench.record(first_step=11, total_steps=14) as run:
        run.observe(bench.net)
        loader = run.wrap(bench.loader)
        assert len(loader) == 2
        assert loader.sampler == "the sampler"
        for _ in range(2):
            for batch in loader:
                bench.train_step(run, batch)
            with run.span("validation") as validation, torch.no_grad():
                bench.net(torch.ones(1, 2))
                bench.clock.pass_ms(1000)
                validation.values["accuracy"] = 0.5
                validation.values["is_best"] = True
    assert [line["step"] for line in bench.lines("step")] == [11, 12, 13, 14]
    assert [line["tags"] for line in bench.lines("step")] == [["first"], [], ["validation"], []]
    # Neither the validation nor the vain fetch before it lies in the step after it.
    assert bench.phases(13) == bench.phases(12)
    spans = bench.lines("span")
    assert [(s["step"], s["host_ms"]) for s in spans] == [(12, 1040.0), (14, 1040.0)]
    assert spans[0]["values"] == {"accuracy": 0.5, "is_best": 1}
    assert "[progress] 14/14" in bench.log


def test_the_start_of_an_epoch_without_a_span_before_it_is_waiting(bench: Bench) -> None:
    with bench.record() as run:
        for _ in range(2):
            for _batch in run.wrap(bench.loader):
                run.step()
    assert bench.phases(3) == {"data_wait": 87.0, "step": 87.0}
    (settings,) = (line for line in bench.lines("event") if line["name"] == "loader_settings")
    assert settings["values"] == {
        "num_workers": 2,
        "prefetch_factor": 2,
        "pin_memory": 0,
        "persistent_workers": 1,
        "batch_size": 4,
    }


def test_steps_alone_are_timed_from_end_to_end(bench: Bench) -> None:
    with bench.record() as run:
        for _ in range(3):
            bench.clock.pass_ms(100)
            run.step()
        with run.span("checkpoint"):
            bench.clock.pass_ms(1000)
        bench.clock.pass_ms(50)
        run.step()
    assert [bench.phases(step).get("step") for step in (2, 3, 4)] == [100.0, 100.0, 50.0]
    assert [line["samples"] for line in bench.lines("step")] == 4 * [None]
    assert "samples/s" not in bench.log


def test_a_forward_without_gradients_is_none_of_the_training(bench: Bench) -> None:
    with bench.record() as run:
        run.observe(bench.net)
        with torch.no_grad():
            bench.net(torch.ones(1, 2))
        bench.net(torch.ones(1, 2)).sum().backward()
        run.step()
    assert bench.phases(1)["forward"] == 40.0


def test_recomputation_is_no_forward(bench: Bench) -> None:
    with bench.record() as run:
        run.observe(bench.net, ["encoder"])
        x = torch.ones(1, 2, requires_grad=True)
        checkpoint(bench.net.encoder, x, use_reentrant=False).sum().backward()
        run.step()
    phases = bench.phases(1)
    assert phases["forward"] == 30.0
    assert sum(phases.get(name, 0.0) for name in PHASES) == phases["step"] == 110.0


def test_the_recomputation_of_a_part_is_told_apart_by_its_contexts(bench: Bench) -> None:
    def loss_of(x: torch.Tensor) -> torch.Tensor:
        contexts = run.recompute_contexts
        return checkpoint(layer.inner, x, use_reentrant=False, context_fn=contexts).sum()

    layer = nn.Module()
    layer.inner = bench.net.encoder
    layer.forward = loss_of
    with bench.record() as run:
        run.observe(nn.ModuleDict({"layer": layer}), ["layer"])
        layer(torch.ones(1, 2, requires_grad=True)).backward()
        run.step()
    parts = {line["phase"]: line["ms"].get("layer") for line in bench.lines("stages")}
    assert parts == {"forward": 30.0, "backward": 50.0, "recompute": 30.0}


def test_a_forward_that_fails_and_is_caught_leaves_no_phase_open(bench: Bench) -> None:
    with bench.record() as run:
        run.observe(bench.net)
        for width in (3, 2):
            try:
                bench.train_step(run, torch.ones(1, width))
            except RuntimeError:
                bench.clock.pass_ms(9)
    assert bench.phases(1)["other"] == 9.0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no such class\nmore"), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(3), "failed"),
        (SystemExit(0), "finished"),
    ],
)
def test_what_ends_the_loop_passes_and_marks_the_run(
    bench: Bench, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), bench.record() as run, run.phase("forward"):  # noqa: PT012
        bench.clock.pass_ms(1)
        raise error
    assert bench.meta["status"] == status
    assert f"[end] {status} | steps=0" in bench.log
    assert ("[error] ValueError: no such class\n" in bench.log) == isinstance(error, ValueError)
    with bench.record():  # nothing of the failed run is in the way of the next
        pass


def test_memory_that_runs_out_is_an_event_the_rules_know(bench: Bench) -> None:
    with pytest.raises(torch.OutOfMemoryError), bench.record() as run:  # noqa: PT012
        run.step()
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    (event,) = (line for line in bench.lines("event") if line["name"] == "out_of_memory")
    assert event["values"]["where"] == "device"


def test_a_run_that_does_nothing_is_a_run(bench: Bench) -> None:
    with bench.record():
        pass
    assert bench.meta["status"] == "finished"


def test_disabled_leaves_nothing_and_costs_nothing(bench: Bench) -> None:
    with bench.record(enabled=False) as outer, bench.record(enabled=False) as run:
        run.observe(bench.net, ["nowhere"])
        assert run.wrap(bench.loader) is bench.loader
        with run.phase("forward"), run.span("validation") as validation:
            validation.values["psnr"] = 1.0
        run.step(loss=torch.ones(2))
        assert outer.facts_dir is run.run_id is None
    assert not list(bench.root.iterdir())
    assert not bench.net.encoder._forward_hooks


def test_the_hooks_are_gone_afterwards(bench: Bench) -> None:
    from torch.optim import optimizer

    before = len(optimizer._global_optimizer_pre_hooks)
    with bench.record() as run:
        run.observe(bench.net)
        assert len(optimizer._global_optimizer_pre_hooks) == before + 1
    assert not bench.net.encoder._forward_hooks
    assert not bench.net._forward_pre_hooks
    assert len(optimizer._global_optimizer_pre_hooks) == before
