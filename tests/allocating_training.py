"""Recorded trainings whose GPU is invented; started by `test_device_leak`.

    python allocating_training.py FOLDER KIND:RANKS:STEPS:STEP_MS[:PAUSE_AFTER] ...

Each goes into a folder of its own, FOLDER/KIND. Its facts are written by the recorder itself,
`vrtspike.profiling.record`, in ranks that are processes of a real process group. Invented is what
lies below it: CUDA's events and properties, time (no step is waited for), and the allocator, whose
segments and blocks are those of PyTorch's. KIND says what a step keeps beside weights and what is
left of its output, which differs from step to step; a leak is that of the last rank. With
PAUSE_AFTER the ranks say `RANK PID` after that step and wait for the end of their standard input.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import distributed

from tests.caching_allocator import MIB, Block, CachingAllocator
from vrtspike.profiling import record
from vrtspike.profiling.communication import Communication
from vrtspike.profiling.cuda_events import CudaEventTimer
from vrtspike.profiling.memory import CudaStepMemory
from vrtspike.profiling.recording import Instruments
from vrtspike.profiling.timers import HostTimer

MB = 10**6
RUN_ID = "train_20260101_000000_a110"
STAGES = 8


class SetClock:
    """Time passes when told, from the present on."""

    def __init__(self) -> None:
        self.now_ns, self.begun_unix_s = 0, time.time()

    def pass_ms(self, ms: float) -> None:
        self.now_ns += round(ms * 1e6)

    def perf_ns(self) -> int:
        return self.now_ns

    def unix_s(self) -> float:
        return self.begun_unix_s + self.now_ns / 1e9


class PassedEvent:
    """An event that the device passes at once."""

    def __init__(self, clock: SetClock) -> None:
        self.clock, self.at_ns = clock, 0

    def record(self, stream: object = None) -> None:
        self.at_ns = self.clock.now_ns

    def query(self) -> bool:
        return True

    def elapsed_time(self, end_event: "PassedEvent") -> float:
        return (end_event.at_ns - self.at_ns) / 1e6


class Training:
    """The tensors of one rank: weights, what a step needs, and what KIND keeps."""

    def __init__(self, allocator: CachingAllocator, rank: int, leaks: bool) -> None:
        self.allocator, self.leaks = allocator, leaks
        self.random = np.random.default_rng(rank)
        for size in range(1, 40):
            allocator.allocate(size * MIB // 2)  # weights, and what the optimizer keeps
        self.left: list[Block] = []
        self.kept: list[Block] = []

    def forward(self) -> list[Block]:
        """Activations of a crop whose size is drawn; the first two are its output."""
        crop = self.random.uniform(0.6, 1.4)
        return [self.allocator.allocate(int(crop * (6 + stage) * MB)) for stage in range(STAGES)]

    def backward(self, activations: list[Block]) -> None:
        """Frees them, the last first, with gradients that come and go; the output stays."""
        for block in reversed(activations[2:]):
            self.allocator.use(block.size)
            self.allocator.free(block)
        for block in self.left:
            self.allocator.free(block)
        self.left = activations[:2]

    def keep(self, size: int) -> None:
        self.kept.append(self.allocator.allocate(size))


def leak(training: Training, step: int) -> None:
    """1 MB of each step, on one rank."""
    if training.leaks:
        training.keep(MB)


def late_leak(training: Training, step: int) -> None:
    """The same, but from step 400 on."""
    if training.leaks and step > 400:
        training.keep(MB)


def nothing(training: Training, step: int) -> None:
    """A healthy run."""


def warm_up(training: Training, step: int) -> None:
    """5 MB of each of the first 60 steps, then no more."""
    if step <= 60:
        training.keep(5 * MB)


def workspaces(training: Training, step: int) -> None:
    """What cuDNN's benchmark keeps for a new shape of crops."""
    if step in (1, 2, 3, 40, 90, 170, 290):
        training.keep(48 * MIB)


def fragments(training: Training, step: int) -> None:
    """Sizes that fit nowhere: what is reserved grows, what tensors hold does not."""
    training.allocator.use(10 * MIB + step * MIB // 2)


def validation(training: Training, step: int) -> None:
    """Outputs that are kept until the next validation."""
    training.keep(MB)
    if step % 50 == 0:
        for block in training.kept:
            training.allocator.free(block)
        training.kept.clear()


KINDS: dict[str, Callable[[Training, int], None]] = {
    "leak": leak,
    "late-leak": late_leak,
    "healthy": nothing,
    "warm-up": warm_up,
    "workspaces": workspaces,
    "fragments": fragments,
    "validation": validation,
}


def invent_cuda(rank: int, ranks: int, clock: SetClock, allocator: CachingAllocator) -> None:
    """Everything that the recorder asks CUDA for."""
    properties = SimpleNamespace(
        name="Invented GPU", total_memory=80 * 1024 * MIB, major=9, minor=0, uuid=f"invented-{rank}"
    )
    timer = CudaEventTimer(
        torch.device("cuda", rank),
        new_event=lambda: PassedEvent(clock),
        stream=lambda device: None,
        wait=lambda device: None,
    )
    memory = CudaStepMemory(
        torch.device("cuda", rank), read_stats=allocator.stats, reset=allocator.reset
    )
    cuda = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: ranks
    cuda.current_device = lambda: rank
    cuda.get_device_properties = lambda device: properties
    cuda.memory_allocated = lambda device: allocator.allocated
    cuda.memory_reserved = lambda device: allocator.reserved
    Communication.fitting = lambda device: Communication(HostTimer(clock))
    Instruments.fitting = lambda device: Instruments(clock=clock, timer=timer, memory=memory)


def train(rank: int, ranks: int, kind: str, steps: int, step_ms: float, pause_after: int) -> None:
    """One rank, in the folder that is the current one."""
    clock, allocator = SetClock(), CachingAllocator()
    if ranks > 1:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
        meeting = f"file://{Path('meeting').resolve()}"
        distributed.init_process_group("gloo", meeting, rank=rank, world_size=ranks)
    invent_cuda(rank, ranks, clock, allocator)
    training = Training(allocator, rank, leaks=rank == ranks - 1)
    settings = {"terminal": False, "tensorboard": False, "resources": False, "redact": True}
    total = 10 * steps if pause_after else steps
    with record(kind, device=f"cuda:{rank}", total_steps=total, run_id=RUN_ID, **settings) as run:
        for step in range(1, steps + 1):
            with run.phase("forward"):
                activations = training.forward()
                clock.pass_ms(step_ms / 3)
            with run.phase("backward"):
                training.backward(activations)
                clock.pass_ms(2 * step_ms / 3)
            KINDS[kind](training, step)
            run.step(loss=1 / step, samples=2)
            if step == pause_after:
                os.write(1, f"{rank} {os.getpid()}\n".encode())
                sys.stdin.read()
    if ranks > 1:
        distributed.destroy_process_group()


def start_ranks(folder: Path, order: str) -> list[int]:
    """The processes of one training; each ends by itself."""
    kind, *numbers = order.split(":")
    ranks, steps, step_ms, pause_after = map(int, [*numbers, 0][:4])
    (folder / kind).mkdir(parents=True)
    started = []
    for rank in range(ranks):
        pid = os.fork()
        if pid == 0:
            os.chdir(folder / kind)
            train(rank, ranks, kind, steps, step_ms, pause_after)
            sys.exit(0)
        started.append(pid)
    return started


def main() -> int:
    folder, *orders = sys.argv[1:]
    for order in orders:
        if any(os.waitpid(pid, 0)[1] for pid in start_ranks(Path(folder), order)):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
