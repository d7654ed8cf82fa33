"""Training on a data set with damaged files, whole: stop, skip, resume, too many, validation."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from tests.vrtspike.conftest import tiny_config
from tests.vrtspike.training_process import PATIENCE_S, start
from vrtspike.engine.checkpoint import read_checkpoint
from vrtspike.engine.trainer import Trainer
from vrtspike.train import main

SKIP = ("DATA.BAD_SAMPLES=skip", "DATA.MAX_BAD_SHARE=0.5")


def run(*arguments: str) -> int:
    return main(["--config", "config.yaml", "--device", "cpu", *arguments])


def newest(pattern: str) -> Path:
    return max(Path().glob(pattern))


def losses(facts: Path, rank: int = 0) -> dict[int, float]:
    lines = (facts / f"steps.rank{rank}.jsonl").read_text().splitlines()
    return {record["step"]: record["loss"] for record in map(json.loads, lines)}


def events(facts: Path, rank: int = 0) -> list[tuple[str, dict]]:
    lines = (facts / f"spans.rank{rank}.jsonl").read_text().splitlines()
    found = [line for line in map(json.loads, lines) if line["kind"] == "event"]
    return [(each["name"], each["values"]) for each in found]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.fixture
def broken(tmp_path, tiny_tree, monkeypatch) -> Path:
    """A project of its own; of its six training samples two hold a picture cut short."""
    shutil.copytree(tiny_tree, tmp_path / "tree")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tiny_config("tree")))
    cut_short(tmp_path / "tree/train/a/blur/000001.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_by_default_the_run_stops_and_names_the_file(broken, capsys):
    assert run("TRAIN.TOTAL_STEPS=6") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: tree/train/a/blur/000001.png: the picture is cut short after")
    assert said.count("\n") == 1
    assert "DATA.BAD_SAMPLES=skip" in said


def test_skipping_names_counts_and_goes_on(broken, capsys):
    assert run("TRAIN.TOTAL_STEPS=7", *SKIP) == 0
    said = capsys.readouterr().out
    assert said.count("[data] damaged sample") == 1, "one file, one line"
    assert "[data] 2 of 6 samples of split 'train' were damaged (33.33%; the run stops" in said
    facts = newest("profiles/train_*")
    assert sorted(losses(facts)) == list(range(1, 8))
    found = dict(events(facts))
    assert found["damaged_sample"]["reason"].startswith("tree/train/a/blur/000001.png: ")
    assert found["damaged_samples"]["count"] == 2


@pytest.mark.parametrize(
    ("workers", "stop"),
    [(0, 4), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((0, 6), (2, 5)))],
)
def test_stopping_and_resuming_among_damage_equals_never_stopping(
    broken, monkeypatch, workers, stop
):
    settings = (f"DATALOADER.TOTAL_WORKERS={workers}", "TRAIN.TOTAL_STEPS=8", *SKIP)
    assert run(*settings, "LOG.SAVE_DIR=whole", "LOG.PROFILES_DIR=whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_asked_to_stop", lambda self: self.step >= stop)
        run(*settings)
    assert run(*settings, "--resume", "auto") == 0
    first, second = sorted(Path("profiles").glob("train_*"), key=lambda p: min(losses(p)))
    assert losses(first) | losses(second) == losses(newest("whole/train_*"))
    straight = read_checkpoint(newest("whole/checkpoints/*/last.pt"))
    resumed = read_checkpoint(Path("outputs/checkpoints", second.name, "last.pt"))
    assert resumed.position == straight.position
    for name, weight in straight.model.items():
        assert torch.equal(resumed.model[name], weight), name


@pytest.mark.parametrize(
    "stop", [None, 3, *(pytest.param(each, marks=pytest.mark.slow) for each in (2, 4))]
)
def test_above_the_share_the_run_stops_at_the_same_step_also_after_a_resume(
    broken, monkeypatch, capsys, stop
):
    few = ("TRAIN.TOTAL_STEPS=30", "DATA.BAD_SAMPLES=skip", "DATA.MAX_BAD_SHARE=0.2")
    if stop is not None:
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_asked_to_stop", lambda self: self.step >= stop)
            run(*few)
        if "were damaged" in capsys.readouterr().err:
            pytest.skip("it had stopped by itself before")
    resume = () if stop is None else ("--resume", "auto")
    assert run(*few, *resume) == 2
    said = capsys.readouterr().err
    assert "error: 2 of the 6 samples of split 'train' are damaged, more than" in said
    steps = max(step for each in Path("profiles").glob("train_*") for step in losses(each))
    assert steps == 5


def test_validation_leaves_damage_out_and_counts_it(broken, capsys):
    whole = ("TRAIN.TOTAL_STEPS=2", "LOG.VAL_EVERY_STEPS=1", *SKIP)
    cut_short(broken / "tree/val/c/sharp/000003.png")
    assert run(*whole) == 0
    said = capsys.readouterr().out
    assert said.count("[data] 1 of 2 samples of split 'val' were damaged (50.00%") == 2
    assert said.count("left out: tree/val/c/sharp/000003.png") == 1
    cut_short(broken / "tree/val/c/sharp/000001.png")
    assert run(*whole) == 2
    assert "2 of the 2 samples of split 'val' are damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_two_ranks_keep_step_among_damage_and_stop_together(broken):
    pair = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    train = ["-m", "vrtspike.train", "--config", "config.yaml", "--device", "cpu"]
    going = start(*pair, *train[0:2], *train[2:], "TRAIN.TOTAL_STEPS=7", *SKIP)
    said, errors = going.communicate(timeout=PATIENCE_S)
    assert going.returncode == 0, errors
    facts = newest("profiles/train_*")
    assert losses(facts) == losses(facts, rank=1)
    told = [value for rank in (0, 1) for name, value in events(facts, rank) if name[-1] == "e"]
    assert {each["sample"] for each in told if "sample" in each} <= {0, 1}
    assert "[data] 2 of 6 samples of split 'train' were damaged" in said
    few = ("TRAIN.TOTAL_STEPS=7", "DATA.BAD_SAMPLES=skip", "DATA.MAX_BAD_SHARE=0.2")
    stopped = start(*pair, *train, *few)
    _, errors = stopped.communicate(timeout=PATIENCE_S)
    assert stopped.returncode != 0
    words = "2 of the 6 samples of split 'train' are damaged"
    assert f"error: {words}" in errors
    assert f"error: rank 1: {words}" in errors
    facts = newest("profiles/train_*")
    assert losses(facts) == losses(facts, rank=1)
