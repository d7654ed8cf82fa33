"""The faults, and one run under each of them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.vrtspike.stress import laws

RUN_ID = "train_20260101_000000_abcd"
SETTINGS = (
    "--config",
    "config.yaml",
    "--device",
    "cpu",
    "LOG.CHECKPOINT_EVERY_STEPS=2",
    "LOG.TENSORBOARD=true",
    "LOG.STAGE_EVERY_STEPS=1",
    "PROFILING.RESOURCES=true",
    "PROFILING.RESOURCE_INTERVAL_S=0.1",
)
PATIENCE_S = 240.0
HERE = Path(__file__).resolve().parent


@dataclass
class Fault:
    """What goes wrong: before the run (`settings`, limits, `prepare`) or during it (`strike`).

    `codes` are the exit codes allowed, as a process has them: a signal's end is negative.
    """

    codes: tuple[int, ...] = (0,)
    settings: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    max_file_bytes: int | None = None
    prepare: Callable[[Path], None] = lambda folder: None
    strike: Callable[[int, Path], None] = lambda pid, folder: None
    strikes: bool = True
    may_cut: bool = False
    may_leave: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Moment:
    """When the fault strikes, in seconds after the start, and how long the run is."""

    delay_s: float
    steps: int


class ForkServer:
    """One process that has imported everything, and its children one after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(laws.ROOT)},
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def start(self, request: dict) -> int:
        """The process id of the trainer, which is its session's too."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def exit_code(self) -> int:
        """Waits for its end."""
        return int(self._answer())

    def close(self) -> None:
        """Ends the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def run_once(server: ForkServer, folder: Path, fault: Fault, moment: Moment) -> tuple[int, int]:
    """One run under a fault: its process id and its exit code."""
    steps = f"TRAIN.TOTAL_STEPS={moment.steps}"
    fault.prepare(folder)
    # A pipe: what the trainer says must reach us whatever limit its files have.
    os.mkfifo(folder / "stderr")
    heard = os.open(folder / "stderr", os.O_RDWR | os.O_NONBLOCK)
    pid = server.start(
        {
            "folder": str(folder),
            "arguments": [*SETTINGS, steps, *fault.settings],
            "environment": fault.environment,
            "max_file_bytes": fault.max_file_bytes,
            "run_id": RUN_ID,
        }
    )
    if fault.strikes:
        time.sleep(moment.delay_s)
        fault.strike(pid, folder)
    code = server.exit_code()
    try:
        said = os.read(heard, 1 << 16)
    except BlockingIOError:
        said = b""
    os.close(heard)
    # PyTorch's C code writes the zero at the end of its strings, too.
    (folder / "stderr.txt").write_bytes(said.replace(b"\0", b""))
    return pid, code


def check(folder: Path, fault: Fault, code: int) -> None:
    """The laws, for what one run has left."""
    said = (folder / "stderr.txt").read_text("utf-8", "replace")
    assert code in fault.codes, f"exit code {code}; {said}"
    # A loading process whose trainer is killed while it hands a batch over: Python's own thread
    # for that finds its connection gone, and says so in its own words.
    handing_over = "multiprocessing/resource_sharer.py"
    was_killed = code == -signal.SIGKILL
    for trace in said.split("Traceback ")[1:]:
        assert was_killed, said
        assert handing_over in trace, said
    if code == 2:
        errors = [line for line in said.splitlines() if line.strip().startswith("error: ")]
        assert len(errors) == 1, said
        assert fault.error is not None
        assert re.search(fault.error, errors[0]), said
    laws.check_files(folder, may_cut=fault.may_cut, may_leave=fault.may_leave)
    laws.check_report(folder)


def _send(number: int) -> Callable[[int, Path], None]:
    def strike(pid: int, folder: Path) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    return strike


def _send_to_group(number: int) -> Callable[[int, Path], None]:
    def strike(pid: int, folder: Path) -> None:
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return

    return strike


def _send_to_child(number: int, *, sampler: bool) -> Callable[[int, Path], None]:
    def strike(pid: int, folder: Path) -> None:
        try:
            for child in psutil.Process(pid).children():
                if ("resource_sampler" in " ".join(child.cmdline())) == sampler:
                    child.send_signal(number)
                    return
        except psutil.NoSuchProcess:
            return

    return strike


def kill_9(chance: random.Random) -> Fault:
    """The trainer alone, or everything at once."""
    whole = chance.random() < 0.5
    strike = _send_to_group(signal.SIGKILL) if whole else _send(signal.SIGKILL)
    workers = f"DATALOADER.TOTAL_WORKERS={chance.choice((0, 2))}"
    return Fault(codes=(0, -9), strike=strike, settings=(workers,), may_leave=2)


def file_limit(chance: random.Random) -> Fault:
    """No file may grow beyond a size: the log, the facts, then the checkpoints."""
    limit = int(10 ** chance.uniform(2, 7))
    words = "cannot be written"
    return Fault(codes=(0, 2), max_file_bytes=limit, strikes=False, may_cut=True, error=words)


def full_device(chance: random.Random) -> Fault:
    """Some of the files lie on a full disk; the others do not."""
    names = [
        f"profiles/{RUN_ID}/steps.rank0.jsonl",
        f"profiles/{RUN_ID}/spans.rank0.jsonl",
        f"profiles/{RUN_ID}/blackbox",
        "outputs/logs/train_20260101_000000.log",
    ]
    chosen = chance.sample(names, chance.randint(1, 3))

    def prepare(folder: Path) -> None:
        for name in chosen:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to("/dev/full")

    return Fault(prepare=prepare, strikes=False)


def refused_profiles(chance: random.Random) -> Fault:
    """The folder of facts cannot be made, for root neither."""

    def prepare(folder: Path) -> None:
        if chance.random() < 0.5:
            (folder / "profiles").write_text("a file")
        else:
            (folder / "profiles").symlink_to("/proc/sys")

    return Fault(prepare=prepare, strikes=False)


def removed_profiles(chance: random.Random) -> Fault:
    """Somebody deletes the facts of the running run."""

    def strike(pid: int, folder: Path) -> None:
        shutil.rmtree(folder / "profiles", ignore_errors=True)

    return Fault(strike=strike, may_cut=True)


def dying_nvml(chance: random.Random) -> Fault:
    """The driver fails, crashes or never answers again."""
    how = chance.choice(("lost", "lost", "crash", "hang"))
    environment = {
        "PYTHONPATH": str(HERE / "dying_nvml"),
        "DYING_NVML": f"{chance.randint(1, 200)} {how}",
    }
    return Fault(environment=environment, strikes=False)


def dying_worker(chance: random.Random) -> Fault:
    """A loading process ends without a word."""
    number = chance.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM))
    return Fault(
        codes=(0, 2),
        settings=(f"DATALOADER.TOTAL_WORKERS={chance.choice((1, 2))}",),
        strike=_send_to_child(number, sampler=False),
        error="loading process died",
    )


def dying_sampler(chance: random.Random) -> Fault:
    """The resource sampler ends, or stops for ever."""
    number = chance.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP))
    return Fault(strike=_send_to_child(number, sampler=True))


def sigterm(chance: random.Random) -> Fault:
    """To the trainer, or to its whole group; before and after the steps it ends as any program."""
    strike = chance.choice((_send, _send_to_group))(signal.SIGTERM)
    workers = f"DATALOADER.TOTAL_WORKERS={chance.choice((0, 1))}"
    return Fault(codes=(0, 143, -15), strike=strike, settings=(workers,), may_leave=1)


def ctrl_c(chance: random.Random) -> Fault:
    """From the terminal to the whole group, or from `kill` to the trainer alone."""
    strike = chance.choice((_send, _send_to_group))(signal.SIGINT)
    workers = f"DATALOADER.TOTAL_WORKERS={chance.choice((0, 1))}"
    return Fault(codes=(0, 130), strike=strike, settings=(workers,))


KINDS = (
    kill_9,
    file_limit,
    full_device,
    refused_profiles,
    removed_profiles,
    dying_nvml,
    dying_worker,
    dying_sampler,
    sigterm,
    ctrl_c,
)
