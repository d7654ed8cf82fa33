"""The black box of a process that is stuck for real: in C code, with and without the lock."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PATIENCE_S = 120.0

STUCK = """
import ctypes, multiprocessing, os, signal, sys, time
from pathlib import Path
import torch
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.settings import ProfilingConfig
signal.signal(signal.SIGTERM, lambda number, frame: None)
run = RunRecord(run_id="train_x", started_at="", status="running")
plan = RecordingPlan(settings=ProfilingConfig(resources=False, hang_after_s=1.0))
def worker_waits():
    while True:
        signal.pause()
with Recorder(facts_dir=Path(sys.argv[1]), run=run, plan=plan,
              device=torch.device("cpu")) as recorder:
    worker = multiprocessing.get_context("fork").Process(target=worker_waits, daemon=True)
    worker.start()
    time.sleep(3)
    for step in range(1, 101):
        recorder.begin_step(step)
        recorder.end_step(micro_batches=1, samples=1)
    recorder.begin_step(101)
    print("ready", flush=True)
    # `sleep` of C returns early for a signal; this one goes on until its time is over.
    kind = ctypes.CDLL if sys.argv[2] == "free" else ctypes.PyDLL
    library, until = kind(None), time.monotonic() + float(sys.argv[3])
    while time.monotonic() < until:
        library.usleep(ctypes.c_uint(900_000 if sys.argv[2] == "free" else 60_000_000))
    recorder.end_step(micro_batches=1, samples=1)
    worker.kill()
"""


def wait_for(condition):
    until = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
    return found


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(folder), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def events(folder: Path) -> list[dict]:
    lines = (folder / "spans.rank0.jsonl").read_text().splitlines()
    return [each for each in map(json.loads, lines) if each["kind"] == "event"]


def test_a_hang_in_c_code_is_written_with_the_stacks_of_the_workers(tmp_path):
    with start(tmp_path, "free", "4") as process:
        (path,) = wait_for(lambda: list((tmp_path / "blackbox").glob("*_hang.rank0.json")))
        os.kill(process.pid, signal.SIGTERM)
        wait_for(lambda: list((tmp_path / "blackbox").glob("*_sigterm.rank0.json")))
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    dump = json.loads(path.read_text())
    assert dump["step"] == 101
    assert [frame["module"] for frame in dump["threads"][0]["frames"]] == ["__main__"]
    assert any("worker_waits" in line for line in dump["workers"])
    (ended,) = [each for each in events(tmp_path) if each["name"] == "hang_ended"]
    assert ended["values"]["seconds"] > 1.0
    assert not list((tmp_path / "blackbox").glob("*.txt"))


def test_an_interpreter_that_is_stuck_is_written_by_c_code(tmp_path):
    with start(tmp_path, "held", "1") as process:
        stuck = tmp_path / "blackbox" / "stuck.rank0.txt"
        text = wait_for(lambda: stuck.exists() and stuck.read_text())
        process.kill()
    assert "Timeout" in text
    assert 'File "<string>"' in wait_for(stuck.read_text)
