"""The documented example that is not VRT-Spike: it runs, and both tools read what it left."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "train_any_model.py"
PAGE = (ROOT / "docs" / "any-trainer.md").read_text("utf-8")


def run_python(folder: Path, *arguments: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example has run."""
    folder = tmp_path_factory.mktemp("any")
    assert "analyze_performance.py" in run_python(folder, str(EXAMPLE), "--epochs", "2")
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return json.loads(run_python(folder, str(ROOT / "analyze_performance.py"), "--json", "-"))


def test_the_report_of_the_newest_run_is_of_the_example(report: dict[str, Any]) -> None:
    assert report["run"]["config"] == {"epochs": 2, "batch_size": 8}
    assert report["run"]["name"] == "small-net"
    assert report["step"]["count"] + report["step"]["excluded"] == 32
    assert report["step"]["samples_per_s"] > 0
    assert [each["status"] for each in report["inputs"]] == ["read", "read"]


def test_it_names_the_slowest_stage(report: dict[str, Any]) -> None:
    forward = [each for each in report["stages"] if each["phase"] == "forward"]
    assert max(forward, key=lambda each: each["mean_ms"])["name"] == "body"
    assert {each["name"] for each in forward} == {"stem", "body", "head", "forward.other"}


def test_phases_sum_to_the_step_and_stages_to_the_forward(report: dict[str, Any]) -> None:
    phases = {each["name"]: each["mean_ms"] for each in report["phases"]}
    assert sum(phases.values()) == pytest.approx(report["step"]["mean_ms"], rel=1e-3)
    for phase in ("forward", "backward", "optimizer", "loss", "data_wait"):
        assert phases[phase] > 0, phase


def test_the_stages_of_each_step_sum_to_its_forward(folder: Path) -> None:
    (facts,) = (folder / "profiles").iterdir()
    spans = [*map(json.loads, (facts / "spans.rank0.jsonl").read_text("utf-8").splitlines())]
    steps = [*map(json.loads, (facts / "steps.rank0.jsonl").read_text("utf-8").splitlines())]
    forward = {each["step"]: each["host_ms"]["forward"] for each in steps}
    stages = [each for each in spans if each["kind"] == "stages" and each["phase"] == "forward"]
    assert stages  # in all steps, or in fewer where recording them would cost too much
    for each in stages:
        assert sum(each["ms"].values()) == pytest.approx(forward[each["step"]], abs=1e-4)


def test_the_text_log_alone_is_enough(folder: Path) -> None:
    (log,) = (folder / "outputs" / "logs").iterdir()
    alone = folder / "alone.log"
    alone.write_text(log.read_text("utf-8"), "utf-8")
    text = run_python(folder, str(ROOT / "analyze_performance.py"), str(alone), "--json", "-")
    stages = [each for each in json.loads(text)["stages"] if each["phase"] == "forward"]
    assert max(stages, key=lambda each: each["mean_ms"])["name"] == "body"


def test_no_advice_names_a_switch_of_our_own_trainer(folder: Path) -> None:
    text = run_python(folder, str(ROOT / "analyze_performance.py"))
    ours = re.findall(r"\b(?:DATA|DATALOADER|TRAIN|MODEL|LOG|PROFILING)\.[A-Z_]+", text)
    assert ours == []
    assert "vrtspike.train" not in text
    assert "small-net" in text


def test_the_memory_tool_reads_it_too(folder: Path) -> None:
    text = run_python(folder, str(ROOT / "diagnose_memory.py"), "--json", "-")
    assert json.loads(text)["run"]["config"] == {"epochs": 2, "batch_size": 8}


WAITING = """
import sys
from vrtspike.profiling import record
with record("waiting", tensorboard=False) as run:
    run.step(loss=1.0)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_the_memory_tool_finds_a_loop_that_runs(tmp_path: Path) -> None:
    loop = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with loop:
        assert loop.stdout is not None
        assert loop.stdout.readline() == "ready\n"
        text = run_python(tmp_path, str(ROOT / "diagnose_memory.py"), "--json", "-")
        loop.communicate()
    found = {each["pid"]: each["role"] for each in json.loads(text)["resources"]["processes"]}
    assert found[loop.pid] == "main"
    text = run_python(tmp_path, str(ROOT / "diagnose_memory.py"), "--json", "-")
    assert loop.pid not in {each["pid"] for each in json.loads(text)["resources"]["processes"]}


def test_the_page_shows_a_loop_that_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    prelude = (
        "import torch\nfrom torch import nn\n"
        "model, loss_of = nn.Sequential(nn.Linear(4, 4)), nn.MSELoss()\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "loader = [torch.randn(2, 4) for _ in range(4)]\n"
        "def validate(model): return 0.5\n"
        "def save(model): pass\n"
    )
    assert len(blocks) >= 3
    for block in blocks:
        run_python(tmp_path, "-c", prelude + block)


def test_the_page_names_every_public_name() -> None:
    from vrtspike import profiling

    methods = {name for name in vars(profiling.RecordedRun) if not name.startswith("_")}
    for name in {*profiling.__all__, *methods}:
        assert f"`{name}" in PAGE or f"run.{name}" in PAGE, name
        assert getattr(getattr(profiling, name, profiling.RecordedRun), "__doc__", None)
