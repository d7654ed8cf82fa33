"""Loading that dies, hangs or meets a limit: one line with the cure, and an end."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path

import pytest
import torch

from tests.vrtspike.data.test_loader import loaders
from vrtspike.data import open_files
from vrtspike.data.file_errors import cannot_read, whole_file
from vrtspike.data.loading_faults import (
    DeadWorker,
    LoadingDiedError,
    LoadingStuckError,
    SystemLimitError,
    explain_fault,
    explain_start,
)
from vrtspike.data.open_files import make_room_for_files
from vrtspike.data.orphans import Parent, end_with
from vrtspike.data.patient_batches import PatientBatches
from vrtspike.data.reading_board import ReadingBoard, all_reports
from vrtspike.data.reads import reading, tell
from vrtspike.errors import DataError


class Process:
    """A loading process as multiprocessing shows it."""

    def __init__(self, pid, exitcode=None):
        self.pid, self.exitcode = pid, exitcode
        self.sentinel = os.open(os.devnull, os.O_RDONLY)
        self.ended = []

    def is_alive(self):
        return self.exitcode is None

    def kill(self):
        self.ended.append("kill")
        self.exitcode = -9

    def join(self, timeout=None):
        self.ended.append("join")


class Iterator:
    """A DataLoader's iterator that gives and raises what it is told to."""

    def __init__(self, *events, workers=()):
        self._events = list(events)
        self._workers = list(workers)

    def __next__(self):
        event = self._events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event


TIMED_OUT = RuntimeError("DataLoader timed out after 5.0 seconds")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "(pid 7) is killed by signal: Killed. Somebody ended it so, or the system, when host"),
        (-7, "(pid 7) is killed by signal: Bus error. So ends a process that finds /dev/shm full"),
        (-15, "(pid 7) is killed by signal: Terminated. If host memory ran out"),
        (-11, "(pid 7) is killed by signal: Segmentation fault."),
        (-99, "killed by signal: signal 99"),
        (3, "(pid 7) ended by itself, exit code 3 "),
    ],
)
def test_the_exit_code_names_the_signal_that_pytorch_did_not(code, words):
    error = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    found = explain_fault(error, [DeadWorker(7, code)])
    assert isinstance(found, LoadingDiedError)
    assert words in str(found)
    assert found.signal_name == DeadWorker(7, code).signal_name


def test_a_death_while_a_batch_is_handed_over_is_named_by_the_exit_code():
    batches = PatientBatches(Iterator(workers=[Process(7, -9), Process(8)]), None, None)
    assert "pid 7) is killed by signal: Killed" in str(batches.explain(ConnectionResetError()))
    unknown = PatientBatches(Iterator(workers=[]), None, None).explain(EOFError())
    assert "while it handed over a batch" in str(unknown)
    assert batches.explain(RuntimeError("a bug")) is None


def test_an_exit_code_that_is_not_there_yet_is_waited_for():
    class Ending(Process):
        def join(self, timeout=None):
            self.exitcode = -9

    batches = PatientBatches(Iterator(workers=[Ending(7), Process(8, 0)]), None, None)
    died = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    assert batches.explain(died).signal_name == "Killed"


def test_a_process_that_dies_between_two_epochs_is_named_too(unified):
    """PyTorch meets it when it tells its lasting processes of the next epoch."""
    train = loaders(unified, workers=1, loading={"persistent_workers": True}).train
    train.timeout = 0.2
    assert len(list(train)) > 0
    (process,) = train._iterator._workers
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would tell first
    try:
        process.kill()
        wait([process.sentinel])
        with pytest.raises(LoadingDiedError, match="killed by signal: Killed"):
            list(train)
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("received 0 items of ancdata"),
        RuntimeError("Too many open files. Communication with the workers is no longer possible."),
        RuntimeError(
            "Caught OSError in DataLoader worker process 0.\n[Errno 24] Too many open files"
        ),
    ],
)
def test_too_many_open_files_come_with_the_cure(error):
    found = explain_fault(error)
    assert isinstance(found, SystemLimitError)
    assert "ulimit -n 65536" in str(found)


def test_a_fault_that_is_known_already_stays_what_it_is():
    known = LoadingStuckError("no batch came")
    error = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    error.__cause__ = known
    assert explain_fault(error, [DeadWorker(7, -9)]) is known


def test_what_a_process_said_itself_counts_for_more_than_its_death():
    died = RuntimeError("DataLoader worker (pid 7) exited unexpectedly with exit code 75.")
    words = "RuntimeError: unable to allocate shared memory(shm) for file </torch_1_2_3>: full (28)"
    assert "--shm-size" in str(explain_fault(died, reports=[words]))
    assert explain_fault(RuntimeError("a bug"), reports=[words]) is None


def test_processes_that_cannot_start_say_what_is_used_up():
    assert "/dev/shm is full" in str(explain_start(OSError(errno.ENOSPC, "No space left")))
    assert "ulimit -u" in str(explain_start(BlockingIOError(errno.EAGAIN, "Resource")))
    assert explain_start(OSError(errno.ENOENT, "no")) is None


def test_a_board_keeps_what_threads_report():
    board = ReadingBoard(1)
    assert board.reports() == []
    board.report(OSError(errno.EMFILE, "Too many open files"))
    assert board.reports() == ["OSError: [Errno 24] Too many open files"]
    assert board.reports()[0] in all_reports()


def test_a_short_read_is_the_end_of_the_file_and_a_failed_one_an_error(tmp_path):
    path = tmp_path / "x.dat"
    path.write_bytes(b"12345")
    assert whole_file(path).tobytes() == b"12345"
    with pytest.raises(OSError, match="Input/output"):
        whole_file(Path("/proc/self/mem"))


def test_a_pinning_thread_that_died_is_a_death():
    assert explain_fault(RuntimeError("Pin memory thread exited unexpectedly")) is not None


def test_files_that_cannot_be_read_say_why_and_what_helps(tmp_path):
    path = tmp_path / "x.png"
    stale = cannot_read(path, "picture", OSError(errno.ESTALE, "Stale file handle"))
    assert str(stale).startswith(f"{path}: cannot read the picture: Stale file handle (the network")
    assert isinstance(cannot_read(path, "x", OSError(errno.EMFILE, "")), SystemLimitError)
    assert str(cannot_read(path, "voxels", OSError(errno.ENOENT, "No such file"))).endswith("file")


def test_the_board_says_who_reads_what_and_since_when(tmp_path):
    now = [1]
    board = ReadingBoard(2, clock_ns=lambda: now[0])
    assert board.readings() == []
    with board.reading(tmp_path / "slow.png"):
        now[0] = 3_000_000_001
        (found,) = board.readings()
        assert (found.slot, found.path, found.seconds) == (0, str(tmp_path / "slow.png"), 3.0)
    assert board.readings() == []


def test_waiting_ends_after_so_many_ticks_and_names_the_file(tmp_path):
    board = ReadingBoard(1, clock_ns=lambda: 7)
    worker = Process(77)
    batches = PatientBatches(
        Iterator(TIMED_OUT, "a batch", TIMED_OUT, TIMED_OUT, workers=[worker]), board, 10.0, 5.0
    )
    assert next(batches) == "a batch", "one tick is not yet too long"
    board._times[1] = torch.tensor([7, 3])
    board._names[1, :3] = torch.tensor([*b"a/b"])
    before = signal.getsignal(signal.SIGCHLD)
    try:
        with pytest.raises(
            LoadingStuckError, match=r"10 s: loading process 0 \(pid 77\) .* a/b for"
        ):
            next(batches)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert worker.ended == ["kill", "join"]


def test_waiting_for_nobody_that_reads_says_so_and_without_a_limit_never_ends():
    batches = PatientBatches(Iterator(TIMED_OUT), ReadingBoard(1), 5.0)
    with pytest.raises(LoadingStuckError, match="though no loading process is reading"):
        next(batches)
    patient = PatientBatches(Iterator(*[TIMED_OUT] * 500, "late"), None, None)
    assert next(patient) == "late"


def test_stopped_processes_are_named_before_what_they_may_be_reading():
    board = ReadingBoard(1, clock_ns=lambda: 7)
    board._times[1] = torch.tensor([7, 1])
    asleep = subprocess.Popen(["sleep", "60"])
    try:
        asleep.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, asleep.pid, os.WSTOPPED | os.WNOWAIT)
        batches = PatientBatches(Iterator(TIMED_OUT, workers=[Process(asleep.pid)]), board, 5.0)
        with pytest.raises(LoadingStuckError, match=rf"are stopped, .*\(pid {asleep.pid}\)"):
            next(batches)
    finally:
        asleep.kill()
        asleep.wait()


def test_a_read_of_the_trainers_own_is_broken_off(tmp_path):
    fifo = tmp_path / "hangs.dat"
    os.mkfifo(fifo)
    board = ReadingBoard(0, limit_s=0.05)
    before = signal.getsignal(signal.SIGALRM)
    words = r"hangs\.dat: could not be read for 0\.05 s"
    with pytest.raises(LoadingStuckError, match=words), board.reading(fifo):
        fifo.read_bytes()
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_reads_are_told_only_where_somebody_listens(tmp_path):
    heard = []

    class Heard:
        def reading(self, path):
            heard.append(path)
            return reading_nothing

    reading_nothing = reading(tmp_path)
    try:
        tell(Heard().reading)
        with reading(tmp_path):
            pass
    finally:
        tell(None)
    with reading(tmp_path / "b"):
        pass
    assert heard == [tmp_path]


def test_a_hanging_disk_under_a_loading_process_is_named_and_left(unified):
    """A pipe that nobody writes to hangs a read as a dead network share does."""
    path = unified / "train/a/spike/000002.dat"
    built = loaders(unified, 1, loading={"batch_timeout_s": 0.2})
    built.train.timeout = 0.1
    path.unlink()
    os.mkfifo(path)
    built.start_epoch(0)
    before = signal.getsignal(signal.SIGCHLD)
    try:
        with pytest.raises(DataError, match=r"000002\.dat for \d+ s: is the disk") as got:
            list(built.train)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert isinstance(got.value, LoadingStuckError)
    assert re.search(r"loading process 0 \(pid \d+\)", str(got.value))


def test_room_for_files_is_made_up_to_the_hard_limit(monkeypatch):
    made = []
    limits = {"now": (256, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda which, given: made.append(given))
    assert "raised to 576" in make_room_for_files(workers=8, prefetch=4)
    assert made == [(576, 4096)]
    limits["now"] = (256, 300)
    assert "WARNING: the process may open 300 files, and 576" in make_room_for_files(8, 4)
    limits["now"] = (1024, 1024)
    assert make_room_for_files(8, 4) is None
    assert open_files.make_room_for_files(0, 4) is None


def test_a_process_whose_parent_is_gone_before_it_looks_ends():
    pid = os.fork()
    if pid == 0:
        end_with(Parent(pid=1 << 30, is_main=False))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


ORPHAN = """
import os, sys, time
from vrtspike.data.orphans import Parent, end_with
parent = Parent.here()
child = os.fork()
if child == 0:
    end_with(parent)
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    open(sys.argv[1]).read()  # hangs
    os._exit(0)
time.sleep(600)
"""


def test_a_process_that_hangs_dies_with_its_parent(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "fifo")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    assert parent.stdout.read() == "", "the pipe closes once the child is gone, too"


def test_paths_longer_than_the_board_keep_their_end():
    board = ReadingBoard(0)
    long = "/".join(["d" * 200] * 30)
    with board.reading(Path(long)):
        (found,) = board.readings()
    assert len(found.path) == 4096
    assert long.endswith(found.path)
