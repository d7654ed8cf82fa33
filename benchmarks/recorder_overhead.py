"""What the recorder costs a step, in microseconds: paired blocks A B B A inside one process.

    python benchmarks/recorder_overhead.py [--step-ms 5] [--modules 30] [--groups 20] [--steps 100]

A is a step without any recorder, B the same step recorded: phases, one stage for each module,
memory and the facts on disk, without the resource sampler, which is a process of its own. The
figure is what the training thread itself pays; the interval is a bootstrap over the groups.
`--clock cpu` counts this thread's processor time instead of wall time: the choice for a busy
machine, with `--step-ms 0`.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from vrtspike.profiling.null_recorder import NullRecorder
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.settings import ProfilingConfig

ClockNs = Callable[[], int]
CLOCKS: dict[str, ClockNs] = {"wall": time.perf_counter_ns, "cpu": time.thread_time_ns}


def step(recorder: Recorder | NullRecorder, number: int, model: nn.Module, work_s: float) -> None:
    """One step: every module once, then work of a known length."""
    recorder.begin_step(number)
    with recorder.phase("data_wait"):
        x = torch.ones(1, 8)
    with recorder.phase("h2d"):
        pass
    with recorder.phase("forward"):
        y = model(x)
    with recorder.phase("loss"):
        loss = y.sum()
    with recorder.phase("backward"):
        until = time.perf_counter() + work_s
        while time.perf_counter() < until:
            pass
    with recorder.phase("optimizer"):
        pass
    recorder.end_step(micro_batches=1, samples=1, loss=loss, lr=1e-4)


def block_us(
    recorder: Recorder | NullRecorder,
    model: nn.Module,
    steps: int,
    work_s: float,
    clock_ns: ClockNs,
) -> float:
    """Microseconds per step over a block."""
    start = clock_ns()
    for number in range(1, steps + 1):
        step(recorder, number, model, work_s)
    return (clock_ns() - start) / 1e3 / steps


def recorded_block_us(
    folder: Path, model: nn.Module, steps: int, work_s: float, clock_ns: ClockNs
) -> float:
    """A block with a recorder of its own; its start and end are not timed."""
    run = RunRecord(run_id="train_20260101_000000_0000", started_at="", status="running")
    plan = RecordingPlan(settings=ProfilingConfig(resources=False))
    with Recorder(facts_dir=folder, run=run, plan=plan, device=torch.device("cpu")) as recorder:
        recorder.observe(model, {f"stage{i}": [str(i)] for i in range(len(list(model.children())))})
        block_us(recorder, model, 3, work_s, clock_ns)
        return block_us(recorder, model, steps, work_s, clock_ns)


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
    parser = argparse.ArgumentParser()
    parser.add_argument("--step-ms", type=float, default=5.0)
    parser.add_argument("--modules", type=int, default=30)
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    clock_ns = CLOCKS[options.clock]
    torch.set_num_threads(1)
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(options.modules)))
    work_s = options.step_ms / 1e3
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def off() -> float:
            return block_us(NullRecorder(), model, options.steps, work_s, clock_ns)

        def on() -> float:
            return recorded_block_us(folder, model, options.steps, work_s, clock_ns)

        off()
        on()
        costs = [group_us(off, on) for _ in range(options.groups)]
        facts = sum(path.stat().st_size for path in folder.iterdir())
    low, high = interval(costs, seed=0)
    recorded = (2 * options.groups + 1) * (options.steps + 3)
    print(
        f"recorder: {statistics.fmean(costs):.0f} us per step, 95 % interval {low:.0f}..{high:.0f},"
        f" median group {statistics.median(costs):.0f}; {options.modules} modules,"
        f" {options.step_ms:g} ms steps, {options.clock} time,"
        f" {options.groups} groups of 4 x {options.steps} steps;"
        f" {facts / recorded:.0f} bytes per step"
    )


if __name__ == "__main__":
    main()
