"""Killed for real: a training in a memory control group, ended by the kernel or by a person.

Needs root and a mounted memory controller of version 1, and says so where there is none. Version 2
is read from recorded files in tests/diagnostics/memory/test_run_aftermath.py.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
LIMIT_BYTES = 700 * MIB
TRAIN = """
import sys, time
import torch
from torch.utils.data import DataLoader, Dataset
from vrtspike.profiling import record

who, limit = sys.argv[1], int(sys.argv[2])
kept = []

def grow():
    if len(kept) < limit:
        kept.append(torch.ones(2 << 20))
        time.sleep(0.02)

class Frames(Dataset):
    def __len__(self):
        return 4000
    def __getitem__(self, index):
        if who == "loader":
            grow()
        return torch.ones(8)

model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loader = DataLoader(Frames(), batch_size=2, num_workers=1 if who == "loader" else 0)
with record("grows", terminal=False, resource_interval_s=0.1) as run:
    run.observe(model)
    for batch in run.wrap(loader):
        if who != "loader":
            grow()
        loss = model(batch).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.step(loss=loss, samples=len(batch))
        print("step", flush=True)
"""


def own_group() -> Path | None:
    """The folder of this process's own group of version 1."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return Path("/sys/fs/cgroup/memory") / path.strip("/")
    return None


@pytest.fixture
def group() -> Iterator[Path]:
    """A new group below the own one, with a limit."""
    own = own_group()
    if own is None or not own.is_dir():
        pytest.skip("no memory control group of version 1 is mounted here")
    folder = own / f"vrtspike_test_{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError as error:
        pytest.skip(f"a control group can be made by root only: {error}")
    yield folder
    for pid in (folder / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    while (folder / "cgroup.procs").read_text().split():
        os.sched_yield()
    folder.rmdir()


def start(folder: Path, group: Path, who: str, limit: int = 100_000) -> subprocess.Popen[str]:
    join = f'echo $$ > "{group}/cgroup.procs"; exec "$@"'
    (folder / "train.py").write_text(TRAIN)
    return subprocess.Popen(
        ["sh", "-c", join, "sh", sys.executable, "train.py", who, str(limit)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def diagnose(folder: Path) -> tuple[dict[str, object], str]:
    """The account, and what the report says in words."""
    tool = [sys.executable, str(ROOT / "diagnose_memory.py"), "--json", "report.json"]
    shown = subprocess.run(
        [*tool, "--width", "400"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    report = json.loads((folder / "report.json").read_text())
    return report["kill"], shown.stdout


def test_the_kernel_ends_a_trainer_at_the_limit_of_its_group(tmp_path: Path, group: Path) -> None:
    trainer = start(tmp_path, group, "trainer")
    trainer.communicate()
    assert trainer.returncode == -signal.SIGKILL
    kill, text = diagnose(tmp_path)
    assert (kill["killer"], kill["victim"], kill["memory"]) == ("oom_killer", "trainer", "group")
    assert kill["counters"]["cgroup_version"] == 1
    assert kill["counters"]["limit_bytes"] == LIMIT_BYTES
    largest = kill["last"]["processes"][0]
    assert (largest["pid"], largest["role"]) == (trainer.pid, "main")
    assert "The kernel's OOM killer ended the trainer" in text
    assert "(killed by the kernel's OOM killer)" in text
    assert "HM006" in text
    assert "grown most: main" in text


def test_the_kernel_ends_a_loader_and_the_run_goes_down_with_it(
    tmp_path: Path, group: Path
) -> None:
    trainer = start(tmp_path, group, "loader")
    trainer.communicate()
    assert trainer.returncode not in (0, -signal.SIGKILL)
    kill, text = diagnose(tmp_path)
    assert (kill["killer"], kill["memory"]) == ("oom_killer", "group")
    assert kill["victim"] == "loader"
    assert "The kernel's OOM killer ended a loader process" in text


def test_a_person_with_kill_9_is_not_the_kernel(tmp_path: Path, group: Path) -> None:
    trainer = start(tmp_path, group, "trainer", limit=3)
    assert trainer.stdout is not None
    for _ in range(20):
        trainer.stdout.readline()
    trainer.kill()
    trainer.communicate()
    kill, text = diagnose(tmp_path)
    assert (kill["killer"], kill["victim"]) == ("not_oom_killer", "trainer")
    assert "not the kernel's OOM killer" in text
    assert "HM006" not in text
