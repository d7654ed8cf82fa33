"""Starts the trainer as a process of its own, and waits for what it says."""

import os
import subprocess
import sys

PATIENCE_S = 300
"""Nothing but a hang takes so long; beside other programs a few steps have taken more than 60 s."""

TRAIN = ["-m", "vrtspike.train", "--config", "config.yaml", "--device", "cpu"]


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(process: subprocess.Popen, words: str) -> None:
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"{words!r} never said: {process.stderr.read()}")
