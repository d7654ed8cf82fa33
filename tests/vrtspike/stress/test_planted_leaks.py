"""A loop that loses 1 MB in each of 100 steps is found and its holder named; a sound one is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.load import load_run
from diagnostics.rules.evaluate import evaluate
from diagnostics.rules.host_memory.host_memory_growing import HostMemoryGrowing
from diagnostics.rules.measure import measure

ROOT = Path(__file__).resolve().parents[3]
LOOP = """
import sys, time
import torch
from torch.utils.data import DataLoader, Dataset
from vrtspike.profiling import record

where, steps, workers, epoch = sys.argv[1], 100, int(sys.argv[2]), int(sys.argv[3])
MB = 1_000_000


class Samples(Dataset):
    kept = []

    def __len__(self):
        return epoch

    def __getitem__(self, index):
        if where == "worker":
            self.kept.append(bytearray(b"x" * MB))
        return torch.randn(3, 32, 32)


def train():
    torch.set_num_threads(1)
    model = torch.nn.Conv2d(3, 3, 3)
    optimizer = torch.optim.Adam(model.parameters())
    loader = DataLoader(Samples(), num_workers=workers)
    kept, done = [], 0
    with record("leak") as run:
        run.observe(model)
        batches = run.wrap(loader)
        while done < steps:
            for batch in batches:
                started = time.perf_counter()
                loss = model(batch).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if where == "main":
                    kept.append(bytearray(b"x" * MB))
                if where == "shm":
                    kept.append(torch.ones(MB // 4).share_memory_())
                time.sleep(max(0.0, 0.1 - (time.perf_counter() - started)))
                run.step(loss=loss, samples=len(batch))
                done += 1
                if done == steps:
                    break


train()
"""


def growth_of(folder, where, workers, epoch):
    """What the rule says of the recorded run, and its measurements."""
    script = folder / "loop.py"
    script.write_text(LOOP, "utf-8")
    subprocess.run(
        [sys.executable, script, where, str(workers), str(epoch)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
        capture_output=True,
    )
    run = load_run([next((folder / "profiles").iterdir())])
    measured = measure(run, analyse_run(run))
    found = evaluate([HostMemoryGrowing()], measured)
    return found.findings, measured


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "workers", "holders"),
    [
        ("main", 1, {"training_process"}),
        ("worker", 1, {"loader_process"}),
        ("worker", 2, {"loader_process", "loader_processes"}),
        ("shm", 1, {"shared_memory"}),
    ],
)
def test_a_leak_of_1_mb_a_step_is_found_within_100_steps(tmp_path, where, workers, holders):
    (finding,), measured = growth_of(tmp_path, where, workers, epoch=1000)
    assert measured.host_memory_holder in holders
    # Other programs of the machine may fill its shared memory meanwhile.
    assert finding.values["mib_per_step"] >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "epoch"), [(2, 1000), (8, 20)])
def test_a_loop_that_loses_nothing_is_sound(tmp_path, workers, epoch):
    """Eight loading processes end and start with every 20 steps."""
    _, measured = growth_of(tmp_path, "nowhere", workers, epoch)
    told = [name for name in measured.host_memory_growth_of if "shared memory" not in name]
    assert told == []
    assert measured.host_memory_growth_bytes_per_step is not None
