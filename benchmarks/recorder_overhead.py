"""What the recorder costs a step, in microseconds: paired blocks A B B A inside one process.

    python benchmarks/recorder_overhead.py [--step-ms 5] [--modules 30] [--backward]

A is a step without any recorder, B the same step recorded: phases, one stage for each module,
memory and the facts on disk, without the resource sampler, which is a process of its own. The
figure is what the training thread itself pays; the interval is a bootstrap over the groups.
`--clock cpu` counts this thread's processor time instead of wall time: the choice for a busy
machine, with `--step-ms 0`. `--against nothing` compares a recorder that is off with no recorder at
all. The stages are timed in every step: the budget is off.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import nn

from vrtspike.profiling.null_recorder import NullRecorder
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.settings import ProfilingConfig

ClockNs = Callable[[], int]
CLOCKS: dict[str, ClockNs] = {"wall": time.perf_counter_ns, "cpu": time.thread_time_ns}


@dataclass(frozen=True)
class Work:
    """What a step does: every module once, backward too if asked for, then busy for a time."""

    model: nn.Module
    busy_s: float
    backward: bool


def step(recorder: Recorder | NullRecorder, number: int, work: Work) -> None:
    """One step."""
    recorder.begin_step(number)
    with recorder.phase("data_wait"):
        x = torch.ones(1, 8, requires_grad=work.backward)
    with recorder.phase("h2d"):
        pass
    with recorder.phase("forward"), torch.set_grad_enabled(work.backward):
        y = work.model(x)
    with recorder.phase("loss"):
        loss = y.sum()
    with recorder.phase("backward"):
        if work.backward:
            loss.backward()
        busy(work.busy_s)
    with recorder.phase("optimizer"):
        pass
    recorder.end_step(micro_batches=1, samples=1, loss=loss, lr=1e-4)


def busy(seconds: float) -> None:
    """Works for a time."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def bare_step(work: Work) -> None:
    """The same step in a loop that has never heard of a recorder."""
    x = torch.ones(1, 8, requires_grad=work.backward)
    with torch.set_grad_enabled(work.backward):
        y = work.model(x)
    loss = y.sum()
    if work.backward:
        loss.backward()
    busy(work.busy_s)


def bare_block_us(work: Work, steps: int, clock_ns: ClockNs) -> float:
    """Microseconds per step without any recorder."""
    start = clock_ns()
    for _ in range(steps):
        bare_step(work)
    return (clock_ns() - start) / 1e3 / steps


def block_us(recorder: Recorder | NullRecorder, work: Work, steps: int, clock_ns: ClockNs) -> float:
    """Microseconds per step over a block."""
    start = clock_ns()
    for number in range(1, steps + 1):
        step(recorder, number, work)
    return (clock_ns() - start) / 1e3 / steps


def recorded_block_us(folder: Path, work: Work, steps: int, clock_ns: ClockNs) -> float:
    """A block with a recorder of its own; its start and end are not timed."""
    run = RunRecord(run_id="train_20260101_000000_0000", started_at="", status="running")
    plan = RecordingPlan(settings=ProfilingConfig(resources=False, budget_share=None))
    with Recorder(facts_dir=folder, run=run, plan=plan, device=torch.device("cpu")) as recorder:
        count = len(list(work.model.children()))
        recorder.observe(work.model, {f"stage{i}": [str(i)] for i in range(count)})
        block_us(recorder, work, 3, clock_ns)
        recorder.flush()
        start = clock_ns()
        block_us(recorder, work, steps, clock_ns)
        recorder.flush()  # steps that wait to be written belong to the price
        return (clock_ns() - start) / 1e3 / steps


def group_us(off: Callable[[], float], on: Callable[[], float]) -> float:
    """The cost of a step from one group A B B A: slow drift of the machine cancels."""
    first, second, third, fourth = off(), on(), on(), off()
    return (second + third - first - fourth) / 2


def interval(values: list[float], seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    draw = random.Random(seed)
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(4000))
    return means[100], means[-101]


def main() -> None:
    """Measures and prints one line."""
    options = parse()
    clock_ns = CLOCKS[options.clock]
    torch.set_num_threads(1)
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(options.modules)))
    work = Work(model, options.step_ms / 1e3, options.backward)
    is_off = options.against == "nothing"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def off() -> float:
            if is_off:
                return bare_block_us(work, options.steps, clock_ns)
            return block_us(NullRecorder(), work, options.steps, clock_ns)

        def on() -> float:
            if is_off:
                return block_us(NullRecorder(), work, options.steps, clock_ns)
            return recorded_block_us(folder, work, options.steps, clock_ns)

        off()
        on()
        resident = psutil.Process().memory_info().rss
        costs = [group_us(off, on) for _ in range(options.groups)]
        grown = psutil.Process().memory_info().rss - resident
        facts = sum(path.stat().st_size for path in folder.glob("*.rank0.jsonl"))
    low, high = interval(costs, seed=0)
    directions = "forward and backward" if work.backward else "forward"
    recorded = (2 * options.groups + 1) * (options.steps + 3)
    print(
        f"{'a recorder that is off' if is_off else 'recorder'}: {statistics.fmean(costs):.0f} us"
        f" per step, 95 % interval {low:.0f}..{high:.0f},"
        f" median group {statistics.median(costs):.0f};"
        f" {options.modules} modules, {directions},"
        f" {options.step_ms:g} ms steps, {options.clock} time,"
        f" {options.groups} groups of 4 x {options.steps} steps;"
        f" {facts / recorded:.0f} bytes per step, {grown / 1024:.0f} KiB grown"
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--step-ms", type=float, default=5.0)
    parser.add_argument("--modules", type=int, default=30)
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--against", choices=("off", "nothing"), default="off")
    return parser.parse_args()


if __name__ == "__main__":
    main()
