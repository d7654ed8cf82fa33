"""The command `python -m vrtspike.train`, whole: files, lines, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vrtspike.engine.checkpoint import read_checkpoint
from vrtspike.engine.trainer import Trainer
from vrtspike.model.trunk import Stage
from vrtspike.train import main


def run(*arguments: str) -> int:
    return main(["--config", "config.yaml", "--device", "cpu", *arguments])


def newest(pattern: str) -> Path:
    return max(Path().glob(pattern))


def losses(facts: Path) -> dict[int, float]:
    lines = (facts / "steps.rank0.jsonl").read_text().splitlines()
    return {record["step"]: record["loss"] for record in map(json.loads, lines)}


def test_a_run_leaves_log_facts_and_checkpoints(project, capsys):
    assert run("TRAIN.TOTAL_STEPS=2", "LOG.VAL_EVERY_STEPS=1", "LOG.PROGRESS_EVERY_STEPS=1") == 0
    log = newest("outputs/logs/*.log").read_text()
    said = capsys.readouterr().out
    facts = newest("profiles/train_*")
    assert log.startswith(f"[run] id={facts.name} schema=1 facts=../../profiles/{facts.name} ")
    for mark in (
        "[After dataset creation] Memory",
        "step 2/2 | loss=",
        "[val] step 1 | PSNR_RGB=",
        "[checkpoint] step 2 | outputs/checkpoints",
        "[end] finished | steps=2",
    ):
        assert mark in log
        assert mark in said
    meta = json.loads((facts / "meta.json").read_text())
    assert (meta["status"], meta["total_steps"], meta["samples_per_step"]) == ("finished", 2, 1)
    assert meta["config"]["DATA"]["K"] == 2
    assert sorted(losses(facts)) == [1, 2]
    spans = map(json.loads, (facts / "spans.rank0.jsonl").read_text().splitlines())
    held = next(record["values"] for record in spans if record.get("name") == "data_set")
    assert held["frame_reads"] == held["train_samples"] * meta["config"]["DATA"]["CLIP_LEN"]
    assert held["micro_batches_per_epoch"] == held["train_samples"]
    assert (held["micro_batches_per_step"], held["first_epoch"], held["first_micro_batch"]) == (
        1,
        0,
        0,
    )
    saved = read_checkpoint(facts / meta["checkpoint_dir"] / "last.pt")
    assert (saved.position.step, saved.run_id) == (2, facts.name)
    assert not any(name.startswith(("module.", "_orig_mod.")) for name in saved.model)


def test_stages_and_phases_of_the_facts_add_up(project):
    assert run() == 0
    facts = newest("profiles/train_*")
    spans = map(json.loads, (facts / "spans.rank0.jsonl").read_text().splitlines())
    stages = [r for r in spans if r["kind"] == "stages" and r["phase"] == "forward"]
    steps = list(map(json.loads, (facts / "steps.rank0.jsonl").read_text().splitlines()))
    assert len(stages) == len(steps) == 3
    for step, record in zip(steps, stages, strict=True):
        assert sum(record["ms"].values()) == pytest.approx(step["host_ms"]["forward"])
        assert {"flow", "spike_encoder", "vrt.stage8", "fusion2"} <= set(record["ms"])
        assert "fusion1" not in record["ms"]


@pytest.mark.parametrize(
    ("workers", "accumulation", "steps", "stop"),
    [(0, 1, 4, 2), pytest.param(2, 4, 8, 5, marks=pytest.mark.slow)],
)
def test_stopping_and_resuming_equals_never_stopping(
    project, monkeypatch, workers, accumulation, steps, stop
):
    settings = (
        f"DATALOADER.TOTAL_WORKERS={workers}",
        f"TRAIN.GRADIENT_ACCUMULATION_STEPS={accumulation}",
        f"TRAIN.TOTAL_STEPS={steps}",
        "LOG.VAL_EVERY_STEPS=3",
    )
    assert run(*settings, "LOG.SAVE_DIR=whole", "LOG.PROFILES_DIR=whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_asked_to_stop", lambda self: self.step >= stop)
        run(*settings)
    assert run(*settings, "--resume", "auto") == 0
    first, second = sorted(Path("profiles").glob("train_*"), key=lambda p: min(losses(p)))
    pieces = losses(first) | losses(second)
    assert sorted(losses(second)) == list(range(stop + 1, steps + 1))
    assert pieces == losses(newest("whole/train_*"))
    assert json.loads((second / "meta.json").read_text())["resumed_from"] == first.name
    resumed = read_checkpoint(Path("outputs/checkpoints", second.name, "last.pt"))
    straight = read_checkpoint(newest("whole/checkpoints/*/last.pt"))
    assert resumed.best_psnr_db == straight.best_psnr_db
    for name, weight in straight.model.items():
        assert torch.equal(resumed.model[name], weight), name


def test_a_resumed_run_goes_on_with_another_batch_size_at_the_same_clip(project):
    assert run("TRAIN.TOTAL_STEPS=2") == 0
    assert run("TRAIN.TOTAL_STEPS=3", "TRAIN.BATCH_SIZE=2", "--resume", "auto") == 0
    saved = read_checkpoint(newest("outputs/checkpoints/*/last.pt"))
    assert (saved.position.step, saved.position.micro_batch, saved.position.clips) == (3, 2, 2)


@pytest.mark.parametrize(
    ("length", "folders", "advice"),
    [
        (
            "TRAIN.TOTAL_STEPS=2",
            1,
            "nothing to do: {file} is at step 2, and TRAIN.TOTAL_STEPS",
        ),
        ("TRAIN.EPOCHS=1", 2, "nothing to do: step 6 is the last of the schedule"),
    ],
)
def test_resuming_what_is_done_says_so_and_how_to_go_on(project, capsys, length, folders, advice):
    assert run(length) == 0
    checkpoint = newest("outputs/checkpoints/*/last.pt")
    capsys.readouterr()
    assert run(length, "--resume", "auto") == 0
    said = capsys.readouterr().out
    assert advice.format(file=checkpoint) in said
    assert "To go on, raise" in said
    assert len(list(Path("profiles").iterdir())) == folders


def test_a_run_that_fails_leaves_its_error_among_the_facts(project, capsys):
    assert run("DATA.ROOT=nowhere") == 2
    said = capsys.readouterr().err.removeprefix("error: ").strip()
    lines = newest("profiles/train_*/spans.rank0.jsonl").read_text().splitlines()
    events = {line["name"]: line for line in map(json.loads, lines) if line["kind"] == "event"}
    assert events["run_failed"]["values"] == {"reason": said}


def test_only_the_newest_runs_keep_their_facts_and_a_running_one_always_does(project, capsys):
    def finished(run_id: str, started_at: str, **meta) -> Path:
        folder = Path("profiles", run_id)
        folder.mkdir(parents=True)
        record = {"run_id": run_id, "status": "finished", "started_at": started_at, **meta}
        (folder / "meta.json").write_text(json.dumps(record))
        return folder

    oldest = finished("train_20250101_000000_0001", "2025-01-01T00:00:00+00:00")
    older = finished("train_20250102_000000_0002", "2025-01-02T00:00:00+00:00")
    here = {"status": "running", "pid": os.getpid(), "host": socket.gethostname()}
    running = finished("train_20240101_000000_0003", "2024-01-01T00:00:00+00:00", **here)
    assert run("TRAIN.TOTAL_STEPS=1") == 0
    assert oldest.exists(), "without LOG.KEEP_RUNS nothing is deleted"
    assert run("TRAIN.TOTAL_STEPS=1", "LOG.KEEP_RUNS=2") == 0
    assert not oldest.exists()
    assert not older.exists()
    assert running.exists()
    assert len(list(Path("profiles").iterdir())) == 3
    said = capsys.readouterr().out
    assert f"[facts] LOG.KEEP_RUNS=2: {oldest.as_posix()} is deleted" in said


def test_resuming_another_model_names_the_key(project, capsys):
    assert run("TRAIN.TOTAL_STEPS=1") == 0
    capsys.readouterr()
    assert run("--resume", "auto", "MODEL.NUM_HEADS=4") == 2
    message = capsys.readouterr().err
    assert "MODEL.NUM_HEADS is 2 there, 4 in the configuration" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["DATA.ROOT=nowhere"], "nowhere"),
        (["TRAIN.BACH_SIZE=2"], "TRAIN.BACH_SIZE"),
        (["--resume", "missing.pt"], "missing.pt: no such file"),
        (["DATA.CLIP_LEN=5"], "DATA.CLIP_LEN"),
        (["TRAIN.EPOCHS=1", "TRAIN.GRADIENT_ACCUMULATION_STEPS=7"], "no optimizer step"),
        (["TRAIN.DISTILLATION.TEACHER_CHECKPOINT=teacher.pt"], "teacher.pt: no such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(project, capsys, arguments, words):
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert words in message
    assert message.count("\n") == 1


def test_cuda_without_a_gpu_is_one_line(project, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main(["--config", "config.yaml", "--device", "cuda"]) == 2
    assert "PyTorch sees no GPU" in capsys.readouterr().err


def test_nan_is_named_with_step_and_tensor_and_nothing_is_saved_after_it(project, capsys):
    arguments = ("TRAIN.OPTIM.LR=1e30", "TRAIN.MAX_GRAD_NORM=1e30", "LOG.CHECKPOINT_EVERY_STEPS=1")
    assert run(*arguments, "TRAIN.TOTAL_STEPS=9") == 2
    message = capsys.readouterr().err
    assert "first bad tensor: " in message
    assert "output" in message
    log = newest("outputs/logs/*.log").read_text()
    assert "[numerics] step " in log
    bad_step = int(log.partition("[numerics] step ")[2].partition(":")[0])
    assert f"[end] failed | steps={bad_step} " in log
    saved = read_checkpoint(newest("outputs/checkpoints/*/last.pt"))
    assert all(torch.isfinite(weight).all() for weight in saved.model.values())
    assert json.loads((newest("profiles/train_*") / "meta.json").read_text())["status"] == "failed"


def test_a_model_too_large_for_the_memory_is_one_line(project, capsys):
    assert (
        run("MODEL.CHANNELS_PER_SCALE=[8000000,8000000,8000000,8000000]", "TRAIN.TOTAL_STEPS=1")
        == 2
    )
    message = capsys.readouterr().err
    assert "host memory ran out" in message
    assert "the sizes under MODEL" in message
    assert message.count("\n") == 1


def test_memory_that_runs_out_in_a_step_is_told_with_stage_and_sizes(project, monkeypatch):
    """The facts say where, by the traceback, and what tensors of the network are how large."""
    forward = Stage.forward

    def runs_out(self, x, *others):
        torch.empty(1 << 62, dtype=torch.uint8)
        return forward(self, x, *others)

    monkeypatch.setattr(Stage, "forward", runs_out)
    assert run("TRAIN.TOTAL_STEPS=2") == 2
    lines = (newest("profiles/train_*") / "spans.rank0.jsonl").read_text().splitlines()
    events = {each["name"]: each["values"] for each in map(json.loads, lines) if "name" in each}
    told = events["out_of_memory"]
    assert (told["where"], told["stage"], told["phase"]) == ("host", "vrt.stage1", "forward")
    assert "tried to allocate 4611686018427387904 bytes" in told["reason"]
    assert told["shapes"].startswith("x 1x") or "float32" in told["shapes"]
    sizes = events["stage_tensors"]
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    assert {name.partition(":")[0] for name in sizes} >= {"flow", "vrt.stage1", "vrt.stage8"}


def test_distillation_adds_its_term_and_learns_from_the_checkpoints_own_model(project):
    assert run("TRAIN.TOTAL_STEPS=1") == 0
    teacher = newest("outputs/checkpoints/*/last.pt")
    assert (
        run(
            f"TRAIN.DISTILLATION.TEACHER_CHECKPOINT={teacher}",
            "MODEL.VRT_DEPTHS=[1,1,1,1,1,1,1,2]",
            "TRAIN.TOTAL_STEPS=1",
            "LOG.PROFILES_DIR=second",
        )
        == 0
    )
    (line,) = (newest("second/train_*") / "steps.rank0.jsonl").read_text().splitlines()
    record = json.loads(line)
    charb, distill = record["loss_terms"]["charb"], record["loss_terms"]["distill"]
    assert record["loss"] == pytest.approx(0.5 * charb + 0.5 * distill, rel=1e-5)


@pytest.mark.parametrize("stream", ["stderr", "closed"])
def test_a_crash_leaves_its_stack_on_standard_error(stream):
    code = (
        "import os, signal, sys\nfrom vrtspike.train import tell_of_crashes\n"
        f"if {stream == 'closed'}: sys.stderr = None\n"
        "tell_of_crashes()\nos.kill(os.getpid(), signal.SIGBUS)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGBUS
    assert ("Fatal Python error: Bus error" in done.stderr) is (stream == "stderr")


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom vrtspike.train import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    assert "--profile-steps N" in done.stdout
