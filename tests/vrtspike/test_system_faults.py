"""Real faults of the system under a real training: one line with the cure, an end, closed facts."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.vrtspike.conftest import tiny_config
from tests.vrtspike.training_process import PATIENCE_S, TRAIN, start, wait_for

pytestmark = pytest.mark.slow

LONG = ("TRAIN.TOTAL_STEPS=5000", "DATALOADER.TOTAL_WORKERS=2")


@pytest.fixture
def own(tmp_path, tiny_tree, monkeypatch) -> Path:
    """A project whose data set is its own."""
    shutil.copytree(tiny_tree, tmp_path / "tree")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tiny_config("tree")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_end(folder: Path, process: subprocess.Popen, *words: str) -> dict:
    """The one line, the exit code and the facts; returns the events by name."""
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, errors
    assert errors.startswith("error: "), errors
    assert errors.count("\n") == 1, errors
    for each in words:
        assert each in errors
    (facts,) = folder.glob("profiles/train_*")
    assert json.loads((facts / "meta.json").read_text())["status"] == "failed"
    lines = map(json.loads, (facts / "spans.rank0.jsonl").read_text().splitlines())
    found = {line["name"]: line["values"] for line in lines if line["kind"] == "event"}
    assert f"error: {found['run_failed']['reason']}" == errors.strip()
    (log,) = folder.glob("outputs/logs/*.log")
    assert "[end] failed" in log.read_text()
    return found


def can_mount() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, check=False).returncode
    )


@pytest.mark.parametrize(("size", "is_enough"), [("16k", False), ("64k", False), ("128k", True)])
def test_a_shared_memory_too_small_to_start_is_named_and_batches_take_none_of_it(
    own, size, is_enough
):
    """Loading processes need a few pages for their locks; 128 KiB hold no two batches."""
    if not can_mount():
        pytest.skip("this user may not mount")
    shm = f"mount -t tmpfs -o size={size} tmpfs /dev/shm && exec {sys.executable} "
    settings = ("TRAIN.TOTAL_STEPS=9", "DATALOADER.TOTAL_WORKERS=2", "LOG.VAL_EVERY_STEPS=4")
    command = shm + " ".join((*TRAIN, *settings))
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if is_enough:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    else:
        check_end(own, process, "/dev/shm", "--shm-size")


@pytest.mark.parametrize("limit", [26, 32, 38, 44])
def test_descriptors_that_run_out_are_named_with_the_limit(own, limit):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    command = [sys.executable, *TRAIN, *LONG]
    process = subprocess.Popen(
        ["sh", "-c", f"ulimit -n {limit}; exec " + " ".join(command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert hard > limit
    check_end(own, process, "too many open files", "ulimit -n")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_that_vanishes_is_named(own, workers):
    process = start(*TRAIN, *LONG, f"DATALOADER.TOTAL_WORKERS={workers}")
    wait_for(process, "step 3/5000")
    (own / "tree").rename(own / "unmounted")
    check_end(own, process, "No such file", "it was there when the data set was scanned")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_read_that_hangs_is_named_and_ends(own, workers):
    """A pipe that nobody writes to hangs its reader as a share that is gone does."""
    settings = (f"DATALOADER.TOTAL_WORKERS={workers}", "DATALOADER.BATCH_TIMEOUT_S=6")
    process = start(*TRAIN, *LONG, *settings)
    wait_for(process, "step 3/5000")
    path = own / "tree/train/a/spike/000001.dat"
    os.mkfifo(own / "pipe")
    (own / "pipe").rename(path)
    check_end(own, process, "tree/train/a/spike/000001.dat", "BATCH_TIMEOUT_S")


def test_a_disk_that_fails_in_the_middle_is_named(own):
    """The memory of a process, read at 0, gives the very error of a failing disk."""
    process = start(*TRAIN, *LONG)
    wait_for(process, "step 3/5000")
    path = own / "tree/train/a/spike/000001.dat"
    (own / "fails").symlink_to("/proc/self/mem")
    (own / "fails").rename(path)
    check_end(own, process, "spike/000001.dat", "dmesg")


def test_a_stopped_loading_process_is_no_endless_wait(own):
    process = start(*TRAIN, *LONG, "DATALOADER.BATCH_TIMEOUT_S=6")
    wait_for(process, "step 3/5000")
    for each in psutil.Process(process.pid).children():
        os.kill(each.pid, signal.SIGSTOP)
    check_end(own, process, "no batch came for", "BATCH_TIMEOUT_S")


def on_a_disk_of_its_own(own: Path, *settings: str) -> subprocess.Popen:
    """A training whose runs and whose cache's folder lie on 40 MiB; `own/disk` is seen inside."""
    if not can_mount():
        pytest.skip("this user may not mount")
    (own / "disk").mkdir()
    folders = ("LOG.SAVE_DIR=disk/outputs", "LOG.PROFILES_DIR=disk/profiles")
    cached = ("DATA.USE_RAM_CACHE=true", "DATA.CACHE_SIZE_GB=0.0002", "DATA.CACHE_DIR=disk")
    mounted = "mount -t tmpfs -o size=40m tmpfs disk && exec "
    command = " ".join((sys.executable, *TRAIN, *folders, *cached, *settings))
    return subprocess.Popen(
        ["unshare", "-m", "sh", "-c", mounted + command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_disk_that_fills_in_the_middle_costs_records_and_ends_in_one_line(own):
    settings = ("LOG.CHECKPOINT_EVERY_STEPS=4", "TRAIN.TOTAL_STEPS=12", "PROFILING.RESOURCES=true")
    process = on_a_disk_of_its_own(own, *settings, "DATALOADER.TOTAL_WORKERS=2")
    wait_for(process, "step 2/12")
    disk = Path(f"/proc/{process.pid}/cwd/disk")
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(65536)) == 65536:
            pass
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, errors
    *warnings, last = errors.splitlines()
    assert last.startswith("error: ")
    assert last.endswith("last.pt: the checkpoint cannot be written: No space left on device")
    assert all(each.endswith("Training goes on.") for each in warnings), errors
    assert "step 12/12" in output


def test_the_disk_of_the_cache_that_fails_in_the_middle_is_named(own):
    """Cut short, its pages give what those of a failed disk give."""
    process = on_a_disk_of_its_own(own, *LONG)
    wait_for(process, "step 3/5000")
    for each in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if re.search(r"/disk/.* \(deleted\)$", str(each.readlink())):
                os.truncate(each, 0)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, errors
    last = errors.splitlines()[-1].lstrip("\0")  # behind a complaint of PyTorch's own
    assert last.startswith("error: a data loading process died: ")
    assert "Bus error" in last
    assert "DATA.CACHE_DIR" in last
    assert "the cache tells nothing any more" in output
