"""The sampler: an even grid, a process without PyTorch, and never an orphan."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vrtspike.profiling.resource_sampler import next_tick_ns
from vrtspike.profiling.sampler_process import SamplerProcess, launcher_pid

PATIENCE_S = 20.0


def wait_for(condition):
    """Polls until the condition holds; fails the test when patience ends."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def test_a_late_sample_shifts_no_later_one():
    assert next_tick_ns(100, 50, 100) == 150
    assert next_tick_ns(100, 50, 149) == 150
    assert next_tick_ns(100, 50, 151) == 200
    assert next_tick_ns(100, 50, 1040) == 1050


def test_it_samples_this_process_until_it_is_stopped(tmp_path):
    path = tmp_path / "resources.host.jsonl"
    sampler = SamplerProcess(path, 0.05)
    wait_for(lambda: lines(path) >= 3)
    assert sampler.stop() is None
    records = [json.loads(line) for line in path.read_text().splitlines()]
    roles = {process["pid"]: process["role"] for process in records[0]["processes"]}
    assert roles[os.getpid()] == "main"
    assert list(roles.values()).count("sampler") == 1
    assert records[0]["host"]["cpu_percent"] is None
    assert records[1]["host"]["cpu_percent"] is not None
    main = next(p for p in records[0]["processes"] if p["role"] == "main")
    assert main["cpu_percent"] is None
    assert main["pss_bytes"] is None or 0 < main["pss_bytes"] <= main["rss_bytes"]
    assert records[1]["processes"][0]["pss_bytes"] is None
    assert (records[0]["gpus"] is None) == (records[0]["gpus_absent_reason"] is not None)
    assert sampler.pid is None


def test_it_ends_at_once_beside_workers_that_hold_its_pipe(tmp_path, monkeypatch):
    path = tmp_path / "resources.host.jsonl"
    sampler = SamplerProcess(path, 0.05)
    wait_for(lambda: lines(path) >= 1)
    worker = os.fork()
    if worker == 0:
        signal.pause()
    process = psutil.Process(sampler.pid)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda self: pytest.fail("had to be killed"))
    try:
        assert sampler.stop() is None
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    assert not process.is_running()


def test_a_sampler_that_died_is_told(tmp_path):
    path = tmp_path / "resources.host.jsonl"
    sampler = SamplerProcess(path, 0.05)
    wait_for(lambda: lines(path) >= 1)
    pid = sampler.pid
    os.kill(pid, signal.SIGINT)
    seen = lines(path)
    wait_for(lambda: lines(path) > seen + 1)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert sampler.stop() == -signal.SIGKILL


PARENT = r"""
import os, sys, time
from pathlib import Path
from vrtspike.profiling.sampler_process import SamplerProcess
path = Path(sys.argv[1])
sampler = SamplerProcess(path, 0.05)
if os.fork() == 0:  # like a loader worker: it inherits the pipe and outlives the trainer
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(60)
    os._exit(0)
os.write(1, b"%d\n" % sampler.pid)
time.sleep(60)
"""


def test_no_sampler_outlives_a_killed_trainer_even_beside_its_workers(tmp_path):
    path = tmp_path / "resources.host.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        pids = {int(parent.stdout.readline()), int(parent.stdout.readline())}
        wait_for(lambda: lines(path) >= 2)
        children = {p.pid: p for p in psutil.Process(parent.pid).children()}
        assert set(children) == pids
        (sampler,) = (p for p in children.values() if "resource_sampler" in " ".join(p.cmdline()))
        (worker,) = (p for p in children.values() if p != sampler)
        os.kill(parent.pid, signal.SIGKILL)
        wait_for(lambda: not sampler.is_running() or sampler.status() == psutil.STATUS_ZOMBIE)
        worker.kill()
    roles = [
        p["role"] for line in path.read_text().splitlines() for p in json.loads(line)["processes"]
    ]
    assert "worker" in roles


@pytest.mark.parametrize(
    "module", ["vrtspike.profiling.resource_sampler", "vrtspike.profiling.sampler_process"]
)
def test_it_starts_without_pytorch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_launcher_is_the_root_only_where_several_ranks_run():
    assert launcher_pid({}) is None
    assert launcher_pid({"LOCAL_WORLD_SIZE": "1"}) is None
    assert launcher_pid({"LOCAL_WORLD_SIZE": "2"}) == os.getppid()


def test_a_program_that_cannot_be_started_costs_the_samples_only(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", str(Path(tmp_path) / "nothing"))
    sampler = SamplerProcess(tmp_path / "r.jsonl", 0.05)
    assert sampler.stop() is None
    assert "no machine load is recorded" in caplog.text
