"""A leak on a GPU, watched by `diagnose_memory.py --watch`: NVML tells what each process holds.

NVML's answers are replayed. What a process holds is what a stand-in for PyTorch's allocator has
reserved beside a context, so that it grows by whole segments and never by tensors.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diagnostics import memory_watch
from diagnostics.watch_reading import WatchClocks, WatchReader
from tests.caching_allocator import MIB, Block, CachingAllocator
from tests.diagnostics.memory.test_machine import put, sources
from tests.diagnostics.memory.test_watch import FakeTraining
from tests.vrtspike.profiling.nvml_replay import NvmlReplay, answers

MB = 10**6
CONTEXT_BYTES = 480 * MIB
INTERVAL_S = 0.25
Held = Iterator[int]


def held(keep: Callable[[CachingAllocator, int], None], steps_between: float) -> Held:
    """Bytes at each reading of a process whose activations come and go in each step."""
    allocator, done = CachingAllocator(), 0.0
    allocator.allocate(300 * MIB)
    while True:
        yield CONTEXT_BYTES + allocator.reserved
        before, done = int(done), done + steps_between
        for step in range(before, int(done)):
            blocks = [allocator.allocate((6 + (step + n) % 5) * MB) for n in range(8)]
            for block in blocks:
                allocator.free(block)
            keep(allocator, step)


def leak(allocator: CachingAllocator, step: int) -> None:
    allocator.allocate(MB)


def nothing(allocator: CachingAllocator, step: int) -> None:
    pass


def warm_up(allocator: CachingAllocator, step: int) -> None:
    if step < 60:
        allocator.allocate(5 * MB)


def workspaces(allocator: CachingAllocator, step: int) -> None:
    if step in (1, 2, 40, 90, 170, 290):
        allocator.allocate(48 * MIB)


def teeth() -> Callable[[CachingAllocator, int], None]:
    """What is kept goes back with each validation, and the cache with it."""
    kept: list[Block] = []

    def keep(allocator: CachingAllocator, step: int) -> None:
        kept.append(allocator.allocate(MB))
        if step % 50 == 49:
            for block in kept:
                allocator.free(block)
            kept.clear()
            allocator.empty_cache()

    return keep


@pytest.fixture
def watch(new_tool: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A function that watches two ranks (10 and 20) to their end: findings and what was printed."""
    training = FakeTraining(tmp_path / "machine")
    training.process(20, 1, "python\0-m\0vrtspike.train\0", pages=900)
    put(training.root, {"proc/20/environ": "RANK=1\0"})

    def run(readings: int, *by_rank: Held) -> tuple[list[dict[str, Any]], str]:
        told: dict[str, list[Any]] = {}
        for rank, sizes in enumerate(by_rank):
            taken = [next(sizes) for _ in range(readings)]
            pid = (10, 20)[rank]
            told[f"nvmlDeviceGetComputeRunningProcesses(gpu{rank})"] = [
                [SimpleNamespace(pid=pid, usedGpuMemory=each)] for each in taken
            ]
            told[f"nvmlDeviceGetMemoryInfo(gpu{rank})"] = [
                {"fields": {"total": 80 << 30, "free": (80 << 30) - each, "used": each}}
                for each in taken
            ]
        reader = partial(
            WatchReader,
            sources=sources(training.root),
            nvml=NvmlReplay(answers("ampere_pair"), **told),
            clocks=WatchClocks(
                steady_s=lambda: training.now_s,
                unix_s=lambda: 1e9 + training.now_s,
                cpu_s=lambda: 0.5,
            ),
        )
        waited = []

        def sleep(seconds: float) -> None:
            training.now_s += seconds
            waited.append(seconds)
            if len(waited) == readings:
                training.end(10)
                training.end(20)

        monkeypatch.setattr(memory_watch, "WatchReader", reader)
        follow = partial(memory_watch.follow, sleep=sleep)
        monkeypatch.setattr(memory_watch, "follow", follow)
        tool = new_tool("diagnose_memory.py")
        arguments = ("--watch", "--interval", INTERVAL_S, "--json", "out.json", "--width", 300)
        code, out, _ = tool(*arguments)
        assert code == 0
        found = json.loads((tmp_path / "out.json").read_text())["findings"]
        return [each for each in found if each["rule"] == "HM106"], out

    return run


def test_a_megabyte_a_step_is_named_with_its_process_within_100_steps(watch: Any) -> None:
    findings, out = watch(40, held(nothing, 2.5), held(leak, 2.5))
    (finding,) = findings
    told = "The memory of training process 20 (rank 1) on GPU 1 grows steadily by "
    assert finding["summary"].startswith(told)
    assert finding["values"]["mib_per_s"] == pytest.approx(10 * MB / MIB, rel=0.15)
    assert told in out.split("Verdict")[1].split("\n\n")[0]


@pytest.mark.parametrize(
    ("keep", "steps_between", "readings"),
    [
        (nothing, 25.0, 80),
        (warm_up, 5.0, 80),
        (workspaces, 5.0, 80),
        (teeth(), 5.0, 80),
    ],
    ids=["2000 short steps", "warm-up", "workspaces", "validation"],
)
def test_what_a_healthy_run_holds_is_no_leak(
    watch: Any, keep: Any, steps_between: float, readings: int
) -> None:
    findings, out = watch(readings, held(keep, steps_between), held(nothing, steps_between))
    assert findings == []
    assert "grows by" not in [line for line in out.splitlines() if "GPU 0, busy" in line][-1]
