"""What one observed module call costs, in microseconds of this thread's processor time.

    python benchmarks/hook_cost.py [--modules 30] [--groups 15] [--steps 200]

Paired blocks A B B A inside one process: A is a chain of small layers, B the same chain observed.
Once without gradients, once the forward with them (which prepares the backward), once both.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from vrtspike.profiling.clock import SystemClock
from vrtspike.profiling.module_hooks import StageHooks
from vrtspike.profiling.timers import HostTimer


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


if __name__ == "__main__":
    main()
