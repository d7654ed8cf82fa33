"""What one observed module call, and one host span, cost in microseconds of processor time.

    python benchmarks/hook_cost.py [--modules 30] [--groups 15] [--steps 200]

Paired blocks A B B A inside one process: A is a chain of small layers, B the same chain observed.
Once without gradients, once the forward with them (which prepares the backward), once both. Then a
span of the host (`with span("forward")`, a phase of a step) against an empty `with`, in a recorder
that writes; only the thread that asks is counted.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from vrtspike.profiling.clock import SystemClock
from vrtspike.profiling.module_hooks import StageHooks
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.profiling.spans import span
from vrtspike.profiling.timers import HostTimer

SPANS_A_STEP = 200


def take_step(model: nn.Module, hooks: StageHooks | None, x: torch.Tensor, backward: bool) -> None:
    if hooks is not None:
        hooks.mode = "forward"
    y = model(x)
    if hooks is not None:
        hooks.phase_ends()
        hooks.mode = None
    if backward:
        loss = y.sum()
        if hooks is not None:
            hooks.mode = "backward"
        loss.backward()
        if hooks is not None:
            hooks.phase_ends()
            hooks.mode = None
    if hooks is not None:
        hooks.take()


def block_us(step: Callable[[], None], steps: int) -> float:
    start = time.thread_time_ns()
    for _ in range(steps):
        step()
    return (time.thread_time_ns() - start) / 1e3 / steps


def span_costs_us(groups: int) -> list[float]:
    """What a span costs more than an empty `with`, a figure for each group A B B A."""
    run = RunRecord(run_id="train_20260101_000000_0000", started_at="", status="running")
    plan = RecordingPlan(settings=ProfilingConfig(resources=False, black_box=False))
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(facts_dir=Path(folder), run=run, plan=plan, device=torch.device("cpu"))
        with recorder:

            def empty() -> None:
                with nullcontext():
                    pass

            def spanned() -> None:
                with span("forward"):
                    pass

            def measured() -> float:
                recorder.begin_step(1)
                cost = block_us(spanned, SPANS_A_STEP)
                recorder.end_step(micro_batches=1, samples=1)
                return cost

            measured()
            costs = []
            for _ in range(groups):
                first, second = block_us(empty, SPANS_A_STEP), measured()
                third, fourth = measured(), block_us(empty, SPANS_A_STEP)
                costs.append((second + third - first - fourth) / 2)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--modules", type=int, default=30)
    parser.add_argument("--groups", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)

    def chain() -> nn.Module:
        return nn.Sequential(*(nn.Linear(8, 8) for _ in range(options.modules)))

    plain, observed = chain(), chain()
    hooks = StageHooks(HostTimer(SystemClock()))
    hooks.attach(observed, {f"stage{i}": [str(i)] for i in range(options.modules)})
    x = torch.ones(1, 8)
    for what, gradients, backward in (
        ("forward without gradients", False, False),
        ("forward with gradients", True, False),
        ("forward and backward", True, True),
    ):
        costs = []
        with torch.set_grad_enabled(gradients):

            def off(backward: bool = backward) -> None:
                take_step(plain, None, x, backward)

            def on(backward: bool = backward) -> None:
                take_step(observed, hooks, x, backward)

            for step in (off, on):
                block_us(step, 50)
            for _ in range(options.groups):
                first, second = block_us(off, options.steps), block_us(on, options.steps)
                third, fourth = block_us(on, options.steps), block_us(off, options.steps)
                costs.append((second + third - first - fourth) / 2 / options.modules)
        print(
            f"{what}: median {statistics.median(costs):.2f} us a module call,"
            f" {min(costs):.2f}..{max(costs):.2f} over {options.groups} groups"
        )
    costs = span_costs_us(options.groups)
    print(
        f"host span: median {statistics.median(costs):.2f} us,"
        f" {min(costs):.2f}..{max(costs):.2f} over {options.groups} groups of {SPANS_A_STEP}"
    )


if __name__ == "__main__":
    main()
