"""A signal to everybody leaves loading processes to their trainer."""

import multiprocessing
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.vrtspike.data.test_loader import loaders
from vrtspike.data import terminations
from vrtspike.data.terminations import (
    LoadingContext,
    heed_parent_only,
    terminations_held,
)

SENDS = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"


def send_from_outside(pid, number=signal.SIGTERM):
    subprocess.run([sys.executable, "-c", SENDS, str(pid), str(int(number))], check=True)


def test_only_the_parents_word_is_obeyed(monkeypatch):
    senders, ended = [1, os.getpid(), os.getppid(), 7], []
    monkeypatch.setattr(signal, "sigwaitinfo", lambda which: SimpleNamespace(si_pid=senders.pop(0)))
    monkeypatch.setattr(os, "_exit", ended.append)
    terminations._obey()
    assert ended == [0]
    assert senders == [7]


def answer(pipe):
    """Lives on as long as it is asked; the first signal comes before it can have asked for any."""
    pipe.send("born")
    pipe.recv()
    heed_parent_only()
    while pipe.recv():
        pipe.send("here")


def test_a_process_lives_on_when_others_end_it_and_ends_when_its_parent_does():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=answer, args=(theirs,))
    with terminations_held():
        process.start()
    assert ours.recv() == "born"
    send_from_outside(process.pid)
    ours.send("listen")
    send_from_outside(process.pid)
    for _ in range(3):
        ours.send(True)
        assert ours.recv() == "here"
    process.terminate()
    process.join(30)
    assert process.exitcode == 0


def test_what_was_held_arrives_afterwards():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with terminations_held():
            signal.raise_signal(signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_loader_goes_on_where_its_processes_got_the_signal_too(unified, number):
    loader = loaders(unified, workers=2).train
    batches = iter(loader)
    next(batches)
    workers = [each.pid for each in multiprocessing.active_children()]
    assert len(workers) == 2
    for pid in workers:
        send_from_outside(pid, number)
    assert 1 + sum(1 for _ in batches) == len(loader)
    assert sum(1 for _ in loader) == len(loader)  # the next epoch, too


def _heeds_the_second(ready):
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    ready.send(None)
    while True:
        signal.pause()


def test_a_process_that_lost_the_first_request_to_end_is_asked_again():
    context = LoadingContext()
    hears, ready = context.Pipe(duplex=False)
    process = context.Process(target=_heeds_the_second, args=(ready,))
    process.start()
    hears.recv()
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM
