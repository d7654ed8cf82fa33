"""A loop of one's own on two real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOOP = """
import torch
from torch import distributed, nn
from vrtspike.profiling import record

distributed.init_process_group("gloo")
model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with record("two", tensorboard=False, budget_share=None) as run:
    run.observe(model, {"first": "0", "last": "1"})
    run.time_exchange(model)
    for _ in range(4):
        with model.no_sync():
            model(torch.randn(2, 4)).sum().backward()
        loss = model(torch.randn(2, 4)).sum()
        loss.backward()
        optimizer.step()
        run.step(loss=loss, samples=4)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_ranks_write_one_run(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(LOOP)
    # Until PyTorch 2.11 a launcher alone on its machine takes port 29500, unless it is told so.
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, *launcher, "loop.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    (folder,) = (tmp_path / "profiles").iterdir()
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["status"], meta["world_size"], meta["stages"]) == (
        "finished",
        2,
        ["first", "last"],
    )
    for rank in (0, 1):
        lines = (folder / f"steps.rank{rank}.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines]
        assert [(each["step"], each["micro_batches"]) for each in steps] == [
            (number, 2) for number in (1, 2, 3, 4)
        ]
        assert all(each["host_ms"]["backward"] > 0 for each in steps)
        assert [each["communication"]["exchanges"] for each in steps] == [1] * 4
        assert all(each["communication"]["bytes"] == 4 * (4 * 4 + 4 + 4 + 1) for each in steps)
        spans = (folder / f"spans.rank{rank}.jsonl").read_text().splitlines()
        events = {each["name"]: each["values"] for each in map(json.loads, spans) if "name" in each}
        assert events["rank_place"]["local_rank"] == rank
        assert events["clock_offset"]["uncertainty_ms"] >= 0
    assert len(list((tmp_path / "outputs" / "logs").iterdir())) == 1
