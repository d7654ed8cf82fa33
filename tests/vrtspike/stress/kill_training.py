"""Trainings, `python -m vrtspike.train` with one rank or two, one process of which is killed."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from tests.vrtspike.conftest import tiny_config
from tests.vrtspike.stress import laws
from tests.vrtspike.training_process import PATIENCE_S

STEPS = 100
CALM_STEPS = 40
"""Steps whose loss is known; a killed run that gets further is compared so far."""
WITHIN_S = 0.3
CACHE = ("DATA.USE_RAM_CACHE=true", "DATA.CACHE_SIZE_GB=0.0002", "DATALOADER.TOTAL_WORKERS=2")


@dataclass(frozen=True)
class Killed:
    """Whom it met, how the ranks ended and what they said, and the losses until then."""

    killed: str
    victim: int
    codes: list[int]
    errors: list[str]
    losses: list[float]
    sessions: list[int]
    shared_before: set[str]


def start(folder: Path, ranks: int, *settings: str) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vrtspike.train", "--config", "config.yaml"]
    started = []
    for rank in range(ranks):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(laws.ROOT)}
        if ranks > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            env |= {"LOCAL_WORLD_SIZE": str(ranks)}
        started.append(
            subprocess.Popen(
                [*command, "--device", "cpu", "TRAIN.COLLECTIVE_TIMEOUT_S=60", *settings],
                cwd=folder,
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=(folder / f"stderr{rank}.txt").open("w"),
                start_new_session=True,
            )
        )
    return started


def project(folder: Path, tree: Path) -> None:
    (folder / "tree").symlink_to(tree, target_is_directory=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(tiny_config("tree")))


def losses(folder: Path) -> list[float]:
    found = list(folder.glob("profiles/*/steps.rank0.jsonl"))
    if not found:
        return []
    whole = found[0].read_text().rpartition("\n")[0]
    return [json.loads(line)["loss"] for line in whole.splitlines()]


def undisturbed(folder: Path, tree: Path, ranks: int) -> list[float]:
    project(folder, tree)
    started = start(folder, ranks, f"TRAIN.TOTAL_STEPS={STEPS}", "TRAIN.SCHED.WARMUP_STEPS=1")
    until = time.monotonic() + PATIENCE_S
    while len(found := losses(folder)) < CALM_STEPS and time.monotonic() < until:
        time.sleep(0.1)
    for each in started:
        os.killpg(each.pid, signal.SIGKILL)
        each.wait()
    assert len(found) >= CALM_STEPS
    return found


def run_killed(folder: Path, tree: Path, ranks: int, case: int) -> Killed:
    """Kills one process at a random moment, when some of the first steps are done."""
    chance = random.Random(case)
    project(folder, tree)
    before = laws.shared_files()
    started = start(folder, ranks, f"TRAIN.TOTAL_STEPS={STEPS}", *CACHE)
    until, after_steps = time.monotonic() + PATIENCE_S, chance.randrange(CALM_STEPS)
    while (
        not list(folder.glob("profiles/*/steps.rank0.jsonl")) or len(losses(folder)) < after_steps
    ):
        assert time.monotonic() < until, "the training never got so far"
        time.sleep(0.02)
    time.sleep(chance.uniform(0.0, WITHIN_S))
    victim = chance.randrange(ranks)
    killed = strike(started[victim].pid, chance.choice(("worker", "worker", "rank")))
    codes = [each.wait(PATIENCE_S) for each in started]
    return Killed(
        killed=killed,
        victim=victim,
        codes=codes,
        errors=[(folder / f"stderr{rank}.txt").read_text() for rank in range(ranks)],
        losses=losses(folder)[:CALM_STEPS],
        sessions=[each.pid for each in started],
        shared_before=before,
    )


def loading_processes(pid: int) -> list[int]:
    """Of a rank, by the name that PyTorch gives them; waits until there are some."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(pid).children()
            found = [each.pid for each in children if each.name() == "pt_data_worker"]
            if found:
                return found
        time.sleep(0.01)
    return []


def strike(pid: int, whom: str) -> str:
    chosen = pid
    if whom == "worker":
        workers = loading_processes(pid)
        if not workers:
            return "nobody"
        chosen = workers[-1]
    with contextlib.suppress(ProcessLookupError):
        os.kill(chosen, signal.SIGKILL)
    return whom


def check_ends(folder: Path, found: Killed) -> None:
    """One line and exit code 2 for everyone but the victim; whole files; nothing left running."""
    for rank, (code, said) in enumerate(zip(found.codes, found.errors, strict=True)):
        if rank == found.victim and found.killed == "rank":
            assert code == -signal.SIGKILL
            continue
        if found.killed == "nobody":
            continue
        assert code == 2, (found.killed, code, said)
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, said
        assert "Traceback" not in said
        if rank == found.victim:
            assert "killed by signal: Killed" in errors[0]
        else:
            assert "another rank is gone" in errors[0]
    laws.check_files(folder, may_cut=False, may_leave=2)
    laws.check_report(folder)
    until = time.monotonic() + PATIENCE_S
    while any(laws.processes_of(each) for each in found.sessions):
        assert time.monotonic() < until, "a process outlives its run"
        time.sleep(0.1)
    assert laws.left_in_shared_memory(found.shared_before, found.sessions) == []
