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

from tests.vrtspike.profiling.conftest import FakeClock
from vrtspike.profiling.process_tree import TreeRoots
from vrtspike.profiling.resource_sampler import Sampling, Tick, next_tick_ns, ticks
from vrtspike.profiling.sampler_process import SamplerProcess, launcher_pid
from vrtspike.profiling.sampling_pace import (
    BYTES_UNTIL_SLOWER,
    JUDGED_OVER_S,
    MAX_CORE_SHARE,
    SamplingPace,
)

PATIENCE_S = 20.0


def wait_for(condition):
    """Polls until the condition holds; fails the test when patience ends."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def lines(path):
    return len(samples(path)) if path.exists() else 0


def samples(path):
    """The samples among the whole lines."""
    records = [json.loads(line) for line in path.read_text().splitlines(True) if line[-1] == "\n"]
    return [record for record in records if record["kind"] == "resources"]


def test_a_late_sample_shifts_no_later_one():
    assert next_tick_ns(100, 50, 100) == 150
    assert next_tick_ns(100, 50, 149) == 150
    assert next_tick_ns(100, 50, 151) == 200
    assert next_tick_ns(100, 50, 1040) == 1050


def test_the_grid_keeps_its_place_and_counts_what_it_missed(monkeypatch):
    clock = FakeClock()

    def waits(read, write, error, timeout_s):
        clock.pass_ms(1000 * timeout_s)
        return [], [], []

    monkeypatch.setattr("select.select", waits)
    late_ms, interval_s, seen = [0, 130, 0, 40, 390, 0], [0.1], []
    grid = ticks(clock, lambda: interval_s[0], os.getppid(), 0)
    for ms, tick in zip(late_ms, grid, strict=False):
        seen.append((round(tick.elapsed_s, 3), tick.missed))
        clock.pass_ms(ms)
    assert seen == [(0.0, 0), (0.1, 0), (0.3, 1), (0.4, 0), (0.5, 0), (0.9, 3)]
    interval_s[0] = 0.4
    assert round(next(grid).elapsed_s, 3) == 1.2


def test_sampling_slows_down_when_it_costs_too_much():
    pace = SamplingPace(0.2)
    assert pace.judge(0.0, 5.0, 0) is None  # starting is paid once
    assert pace.judge(JUDGED_OVER_S, 5.0 + 0.9 * MAX_CORE_SHARE * JUDGED_OVER_S, 0) is None
    assert "of a core" in pace.judge(2 * JUDGED_OVER_S, 6.0, 0)
    assert pace.interval_s == 0.4
    assert pace.judge(3 * JUDGED_OVER_S, 6.0, 0) is None


def test_a_file_that_grows_doubles_the_interval_at_each_doubling():
    pace = SamplingPace(0.2)
    sizes = [BYTES_UNTIL_SLOWER - 1, BYTES_UNTIL_SLOWER, BYTES_UNTIL_SLOWER + 1]
    assert [pace.judge(0.0, 0.0, size) is None for size in sizes] == [True, False, True]
    assert pace.judge(0.0, 0.0, 2 * BYTES_UNTIL_SLOWER) == "128 MiB written"
    assert pace.interval_s == 0.8


def test_slower_sampling_is_an_event_in_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr("vrtspike.profiling.sampling_pace.BYTES_UNTIL_SLOWER", 1)
    path = tmp_path / "resources.host.jsonl"
    me = os.getpid()
    sampling = Sampling(path, TreeRoots(root_pid=me, main_pid=me), 0.2, FakeClock())
    sampling.sample(Tick(elapsed_s=0.0, missed=0))
    sampling.sample(Tick(elapsed_s=1.0, missed=4))
    sampling.close()
    first, event, second, *_ = (json.loads(line) for line in path.read_text().splitlines())
    assert (event["kind"], event["name"]) == ("event", "sampling_slowed")
    assert "step" not in event
    assert event["values"]["interval_s"] == 0.4
    assert (first["sampler"]["missed"], second["sampler"]["missed"]) == (0, 4)
    assert second["sampler"]["interval_s"] == 0.4


def test_a_sampler_that_cannot_be_killed_does_not_hold_up_the_run(tmp_path, monkeypatch, caplog):
    sampler = SamplerProcess(tmp_path / "resources.host.jsonl", 0.05)
    process = sampler._process

    def never(timeout=None):
        raise subprocess.TimeoutExpired("sampler", timeout)

    with monkeypatch.context() as patch:
        patch.setattr(process, "wait", never)
        assert sampler.stop() is None
    process.wait(PATIENCE_S)
    assert "does not end" in caplog.text


def test_it_samples_this_process_until_it_is_stopped(tmp_path):
    path = tmp_path / "resources.host.jsonl"
    sampler = SamplerProcess(path, 0.05)
    wait_for(lambda: lines(path) >= 3)
    assert sampler.stop() is None
    records = samples(path)
    roles = {process["pid"]: process["role"] for process in records[0]["processes"]}
    assert roles[os.getpid()] == "main"
    assert list(roles.values()).count("sampler") == 1
    assert "cpu_percent" not in records[0]["host"]
    assert records[1]["host"]["cpu_percent"] >= 0
    main = next(p for p in records[0]["processes"] if p["role"] == "main")
    assert "cpu_percent" not in main
    assert (records[0]["gpus"] is None) == (records[0]["gpus_absent_reason"] is not None)
    costs = [record["sampler"]["cpu_s"] for record in records]
    assert costs == sorted(costs)
    assert {record["sampler"]["interval_s"] for record in records} == {0.05}
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
    os.kill(pid, signal.SIGTERM)  # of a group: the trainer ends it
    seen = lines(path)
    wait_for(lambda: lines(path) > seen + 1)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a zombie may still have dying threads
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
    roles = [process["role"] for record in samples(path) for process in record["processes"]]
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
