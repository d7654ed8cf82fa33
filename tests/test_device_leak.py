"""A leak on the device's allocator, from the recorder's own facts to the reports of both tools."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "allocating_training.py"
MIB = 1 << 20
HEALTHY = {
    "healthy": "1:2000:10",
    "warm-up": "1:400:50",
    "workspaces": "1:400:50",
    "fragments": "1:400:50",
    "validation": "1:400:50",
}


def start(folder: Path, *orders: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), *orders],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of every kind."""
    folder = tmp_path_factory.mktemp("runs")
    orders = [f"{kind}:{numbers}" for kind, numbers in HEALTHY.items()]
    program = start(folder, "leak:3:100:100", "late-leak:1:800:100", *orders)
    program.communicate()
    assert program.returncode == 0
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[int, int]]]:
    """Folder, and processes by rank, of a training that leaks, after 100 of 1,000 steps."""
    folder = tmp_path_factory.mktemp("running")
    program = start(folder, "leak:2:101:100:100")
    assert program.stdout is not None
    told = [program.stdout.readline().split() for _ in range(2)]
    yield folder / "leak", {int(rank): int(pid) for rank, pid in told}
    program.communicate()
    assert program.returncode == 0


def facts(folder: Path, kind: str) -> Path:
    (found,) = (folder / kind / "profiles").iterdir()
    return found


def pid_of(folder: Path, rank: int) -> int:
    """As the rank itself wrote it down."""
    lines = (folder / f"spans.rank{rank}.jsonl").read_text().splitlines()
    (place,) = (each for each in map(json.loads, lines) if each.get("name") == "rank_place")
    return int(place["values"]["pid"])


def leaks(report: Path) -> list[dict[str, Any]]:
    """What it says of memory on the device that grows."""
    found = json.loads(report.read_text())["findings"]
    return [each for each in found if each["rule"] == "GM003"]


@pytest.mark.parametrize("script", ["analyze_performance.py", "diagnose_memory.py"])
def test_a_megabyte_a_step_is_named_with_its_rank_and_process(
    new_tool: Any, tmp_path: Path, runs: Path, script: str
) -> None:
    folder = facts(runs, "leak")
    code, out, _ = new_tool(script)(folder, "--json", "report.json", "--width", "300")
    assert code == 0
    (finding,) = leaks(tmp_path / "report.json")
    assert finding["severity"] == "warn"
    told = f"Tensors on the GPU of rank 2, process {pid_of(folder, 2)} hold "
    assert finding["summary"].startswith(told)
    assert told in out.split("Verdict")[1].split("\n\n")[0]
    values = finding["values"]
    assert values["mib_per_step"] * MIB == pytest.approx(1e6, rel=0.15)
    assert (values["first"], values["last"]) == (21, 100)
    assert values["rise_mib"] == pytest.approx(values["mib_per_step"] * 79)
    assert f"Steady growth in tensors on the GPU of rank 2, process {pid_of(folder, 2)}: " in out


def test_one_that_begins_after_hundreds_of_steps_is_told_from_there(
    new_tool: Any, tmp_path: Path, runs: Path
) -> None:
    folder = facts(runs, "late-leak")
    assert new_tool("analyze_performance.py")(folder, "--json", "report.json")[0] == 0
    (finding,) = leaks(tmp_path / "report.json")
    assert finding["values"]["first"] == pytest.approx(400, abs=40)
    assert finding["values"]["mib_per_step"] * MIB == pytest.approx(1e6, rel=0.1)


@pytest.mark.parametrize("script", ["analyze_performance.py", "diagnose_memory.py"])
def test_it_is_named_while_the_run_still_goes_on(
    new_tool: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    running: tuple[Path, dict[int, int]],
    script: str,
) -> None:
    """The newest run of the folder in which the tool is started."""
    folder, pids = running
    tool, report = new_tool(script), tmp_path / "report.json"
    monkeypatch.chdir(folder)
    code, out, _ = tool("--json", report, "--width", "300")
    assert code == 0
    (finding,) = leaks(report)
    assert f"of rank 1, process {pids[1]} hold " in finding["summary"]
    assert "running" in out


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_run_has_no_leak(new_tool: Any, tmp_path: Path, runs: Path, kind: str) -> None:
    folder = facts(runs, kind)
    code, _, _ = new_tool("analyze_performance.py")(folder, "--json", "report.json")
    assert code == 0
    assert leaks(tmp_path / "report.json") == []
    body = json.loads((tmp_path / "report.json").read_text())
    assert "GM003" not in {each["rule"] for each in body["not_evaluated"]}
