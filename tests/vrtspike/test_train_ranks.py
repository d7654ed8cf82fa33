"""Several ranks as processes: one is killed, one hangs, all are asked to stop, two launchers."""

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from diagnostics.load import load_run
from tests.vrtspike.training_process import PATIENCE_S, TRAIN, start, wait_for
from vrtspike.engine.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

TORCHRUN = ["-m", "torch.distributed.run"]
PAIR = [*TORCHRUN, "--standalone", "--nproc_per_node=2"]


def ranks_of(launcher: subprocess.Popen) -> dict[int, psutil.Process]:
    return {int(each.environ()["RANK"]): each for each in psutil.Process(launcher.pid).children()}


def newest(pattern: str) -> Path:
    return max(Path().glob(pattern))


@pytest.mark.parametrize(
    ("number", "limit_s", "told"),
    [(signal.SIGKILL, 200, "another rank is gone"), (signal.SIGSTOP, 20, "not answer for 20 s")],
)
def test_a_rank_that_dies_or_hangs_ends_the_others_with_a_clear_line(
    project, number, limit_s, told
):
    limit = f"TRAIN.COLLECTIVE_TIMEOUT_S={limit_s}"
    launcher = start(*PAIR, *TRAIN, "TRAIN.TOTAL_STEPS=5000", limit)
    wait_for(launcher, "step 3/5000")
    ranks_of(launcher)[1].send_signal(number)
    _, errors = launcher.communicate(timeout=PATIENCE_S)
    assert launcher.returncode != 0
    assert f"error: {told}" in errors or f"error: another rank did {told}" in errors
    run = load_run([newest("profiles/train_*")])
    assert run.info.status == "failed"
    assert "rank_lost" in set(run.tables.events["name"])


def test_sigterm_to_torchrun_stops_all_ranks_at_the_same_step_with_a_checkpoint(project):
    launcher = start(*PAIR, *TRAIN, "TRAIN.TOTAL_STEPS=5000")
    wait_for(launcher, "step 3/5000")
    launcher.send_signal(signal.SIGTERM)
    launcher.communicate(timeout=PATIENCE_S)
    run = load_run([newest("profiles/train_*")])
    last = run.tables.steps.groupby("rank")["step"].max()
    saved = read_checkpoint(newest("outputs/checkpoints/*/last.pt")).position.step
    assert list(last) == [saved, saved]
    assert run.info.status == "interrupted"


def test_two_launchers_are_two_nodes(project):
    where = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", "--master_port=29577"]
    settings = ("TRAIN.TOTAL_STEPS=4", "PROFILING.RESOURCES=true")
    nodes = [start(*TORCHRUN, *where, f"--node_rank={node}", *TRAIN, *settings) for node in (0, 1)]
    for node in nodes:
        _, errors = node.communicate(timeout=PATIENCE_S)
        assert node.returncode == 0, errors
    folder = newest("profiles/train_*")
    places = load_run([folder]).tables.rank_places
    assert list(places["rank"]) == [0, 1]
    assert list(places["local_rank"]) == [0, 0]
    (samples,) = folder.glob("resources.*.jsonl")  # one machine, sampled by one of the two
    samplers = {
        process["pid"]
        for line in samples.read_text().splitlines()
        for process in json.loads(line).get("processes", ())
        if process["role"] == "sampler"
    }
    assert len(samplers) == 1
