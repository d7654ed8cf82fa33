"""`vrtspike.profiling.record` used wrongly, set wrongly, or where it cannot record."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.vrtspike.profiling.session_bench import Bench
from vrtspike.profiling import RecordedRun, RecorderUsageError, record
from vrtspike.profiling.recording_session import _Active


@pytest.mark.parametrize("value", ["much", object(), 10**400])
@pytest.mark.parametrize("name", ["samples", "loss", "lr", "grad_norm"])
def test_what_a_step_is_told_must_be_a_number(bench: Bench, name: str, value: Any) -> None:
    with bench.record() as run, pytest.raises(RecorderUsageError, match=rf"run.step\({name}="):
        run.step(**{name: value})


@pytest.mark.parametrize("ranks", ["some", 5, None, (0, "a"), [], [-1]])
def test_ranks_are_all_or_a_list(ranks: Any) -> None:
    with pytest.raises(RecorderUsageError, match="ranks: must be all or a list"):
        record("x", ranks=ranks)


def test_a_folder_may_hold_no_nul() -> None:
    with pytest.raises(RecorderUsageError, match="no text may hold a NUL"):
        record("x", profiles_dir="a\0b")


def misuse_span_in_phase(bench: Bench, run: RecordedRun) -> None:
    with run.phase("forward"), run.span("validation"):
        pass


def misuse_step_in_phase(bench: Bench, run: RecordedRun) -> None:
    with run.phase("forward"):
        run.step()


def misuse_step_in_span(bench: Bench, run: RecordedRun) -> None:
    with run.span("validation"):
        run.step()


def misuse_observe_in_phase(bench: Bench, run: RecordedRun) -> None:
    with run.phase("forward"):
        run.observe(bench.net)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda b, r: r.observe(b.net, ["encodr"]),
            "no submodule 'encodr'; did you mean 'encoder'",
        ),
        (lambda b, r: r.observe(b.net, ["blocks"]), "never called itself; name its members"),
        (lambda b, r: r.observe(b.net, {"a b": "encoder"}), "'a b' cannot be used"),
        (lambda b, r: r.observe(nn.DataParallel(b.net)), "use DistributedDataParallel"),
        (lambda b, r: r.observe("net"), "must be a torch.nn.Module, got a str"),
        (lambda b, r: r.phase("foward"), "no such phase; did you mean 'forward'"),
        (lambda b, r: r.step(loss=torch.ones(2)), "must be a single number"),
        (
            lambda b, r: r.step(loss_terms={"l1": torch.ones(2)}),
            r"step\(l1=...\): must be a single",
        ),
        (lambda b, r: b.record().__enter__(), "being recorded already"),
        (lambda b, r: r.__enter__(), "entered once"),
        (lambda b, r: r.step(loss_terms={"l1": "much"}), r"step\(l1=...\): must be a number"),
        (lambda b, r: r.time_exchange(b.net), "a model in DistributedDataParallel, got a Net"),
        (misuse_span_in_phase, "end the phase first"),
        (misuse_step_in_phase, "the step ends after its phases"),
        (misuse_step_in_span, "end the span first"),
        (misuse_observe_in_phase, "call it before the loop"),
    ],
)
def test_misuse_is_one_clear_line(
    bench: Bench, call: Callable[[Bench, RecordedRun], Any], said: str
) -> None:
    with bench.record() as run:
        with pytest.raises(RecorderUsageError, match=said) as caught:
            call(bench, run)
        assert "\n" not in str(caught.value)
        run.step()  # and recording goes on
    assert len(bench.lines("step")) == 1


def test_a_run_without_a_step_says_what_was_forgotten(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.record() as run:
        for _ in run.wrap([1, 2]):
            pass
    assert "no step was recorded: call run.step()" in caplog.text


def test_a_run_is_used_inside_its_block_only(bench: Bench) -> None:
    run = bench.record()
    with pytest.raises(RecorderUsageError, match="was not entered"):
        run.step()
    with run:
        pass
    with pytest.raises(RecorderUsageError, match="has ended"):
        run.step()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stage_every_step": 5}, "did you mean 'stage_every_steps'"),
        ({"val_every_steps": 5}, "unknown setting"),
        ({"step_every_steps": "5"}, "must be int, got str '5'"),
        ({"redact": 1}, "must be bool, got int"),
        ({"step_every_steps": 0}, "step_every_steps: must be at least 1"),
        ({"first_step": 0}, "first_step: must be at least 1"),
        ({"run_id": "../up"}, "run_id: must look like"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"device": "cuda:99"}, r"device='cuda:99'\): PyTorch sees \d+ GPUs"),
        ({"profiel": True}, "did you mean 'profile'"),
        ({"config": 3}, "must be a mapping, a dataclass or a namespace"),
    ],
)
def test_wrong_settings_are_one_clear_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecorderUsageError, match=said):
        record("x", **settings)


def test_a_path_may_be_a_path(bench: Bench) -> None:
    with bench.record(profiles_dir=Path("elsewhere"), redact=True, config={"root": "/data/x"}):
        pass
    (meta,) = (bench.root / "elsewhere").glob("*/meta.json")
    assert json.loads(meta.read_text())["config"] == {"root": "<path>"}


@dataclass
class Settings:
    lr: float = 0.1
    api_key: str = "abc"


class Keyed:
    """As OmegaConf has them: keys, but no Mapping."""

    def keys(self) -> list[str]:
        return ["HF_TOKEN", "max_tokens", "deep"]

    def __getitem__(self, key: str) -> Any:
        return {
            "HF_TOKEN": "abc",
            "max_tokens": 5,
            "deep": {"password": "abc", "nan": float("nan")},
        }[key]


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (Settings(), {"lr": 0.1, "api_key": "<secret>"}),
        (argparse.Namespace(lr=1, path=Path("a/b")), {"lr": 1, "path": "a/b"}),
        (
            Keyed(),
            {
                "HF_TOKEN": "<secret>",
                "max_tokens": 5,
                "deep": {"password": "<secret>", "nan": "nan"},
            },
        ),
        ({1: (2, {3}), "f": len}, {"1": [2, [3]], "f": str(len)}),
        (None, {}),
    ],
)
def test_any_configuration_is_kept_without_its_secrets(
    bench: Bench, config: Any, kept: dict[str, Any]
) -> None:
    with bench.record(config=config):
        pass
    assert bench.meta["config"] == kept


def test_a_configuration_that_holds_itself_ends(bench: Bench) -> None:
    config: dict[str, Any] = {}
    config["self"] = config
    with bench.record(config=config):
        pass
    assert bench.meta["config"]["self"]


def test_a_folder_that_cannot_be_made_costs_the_record_only(bench: Bench) -> None:
    (bench.root / "profiles").write_text("a file")
    (bench.root / "outputs").write_text("a file")
    with bench.record() as run:
        run.observe(bench.net)
        for batch in run.wrap(bench.loader):
            bench.train_step(run, batch)
    assert (bench.root / "profiles").read_text() == "a file"


def test_a_start_that_fails_costs_the_record_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(device: torch.device) -> dict[str, Any]:
        raise RuntimeError("no driver")

    monkeypatch.setattr("vrtspike.profiling.running_session.describe_device", fail)
    with bench.record() as run:
        run.observe(bench.net)
        for batch in run.wrap(bench.loader):
            with run.phase("h2d"), run.span("x"):
                bench.train_step(run, batch)
    assert caplog.messages == ["nothing is recorded: no driver. Training goes on."]


def test_a_model_elsewhere_than_guessed_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    guess = "vrtspike.profiling.running_session.guess_device"
    monkeypatch.setattr(guess, lambda place: torch.device("meta"))
    with bench.record() as run:
        run.step()
        with pytest.raises(RecorderUsageError, match=r"give record\(device='cpu'\)"):
            run.observe(bench.net)


def test_processes_that_do_not_know_each_other_need_a_run_id(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecorderUsageError, match="init_process_group"), bench.record() as run:
        run.step()
    with bench.record(run_id="train_20260101_000000_abcd") as run:
        run.step()
    assert bench.folder.name == "train_20260101_000000_abcd"
    assert [path.name for path in bench.folder.glob("steps*")] == ["steps.rank1.jsonl"]
    assert not (bench.root / "outputs").exists()  # rank 0 writes the log


def test_ranks_of_a_group_take_rank_0s_run_id(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import distributed

    def broadcast(box: list[Any], src: int, device: Any) -> None:
        assert (src, device) == (0, None)
        box[0] = "train_20260101_000000_abcd"

    for name, value in {
        "is_initialized": True,
        "get_rank": 1,
        "get_world_size": 2,
        "get_backend": "gloo",
    }.items():
        monkeypatch.setattr(distributed, name, lambda value=value: value)
    monkeypatch.setattr(distributed, "broadcast_object_list", broadcast)
    with bench.record() as run:
        run.step()
        assert run.run_id == "train_20260101_000000_abcd"


def test_a_forked_process_records_for_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.record():
        monkeypatch.setattr(_Active, "pid", -1)
        with bench.record(run_id="train_20260101_000000_abcd") as inner:
            inner.step()


def test_the_package_loads_no_torch_before_it_is_used() -> None:
    code = (
        "import sys, vrtspike.profiling as p\n"
        "assert 'torch' not in sys.modules and 'record' in dir(p)\n"
        "assert not hasattr(p, 'nothing')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
