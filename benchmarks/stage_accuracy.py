"""Whether a known delay in one stage and one direction shows there, and nowhere else.

    python benchmarks/stage_accuracy.py [--rounds 12] [--checkpoint] [--clock wall|cpu]
                                        [--forward-ms 30] [--backward-ms 50] [--config FILE]

The network of a configuration takes steps on random clips, in turn as it is and with a sleep in
the forward of `vrt.stage3` and one in the backward of `vrt.stage6`, put there from outside by an
autograd function around the stage. Printed is, stage by stage, the median over the disturbed steps
of the difference to the mean of the two steps around each, so that slow drift cancels, and the
spread of these differences (median absolute deviation). What was delayed must show it within 3 and
5 ms; all else must show nothing within the same limits, or within twice its spread. With
`--checkpoint` the network also recomputes its blocks, and the delay of the forward lies in a part
of stage 3 that is recomputed: it must show once more, as recomputation. On a busy machine wall time
says little; `--clock cpu` then gives the recorder this thread's processor time as its clock, and
the delays are work of that length instead of sleep.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vrtspike.config import load_config
from vrtspike.engine.stored_model import new_model
from vrtspike.model.recomputation import set_checkpoint_context
from vrtspike.model.stages import stage_submodules
from vrtspike.profiling.clock import Clock, SystemClock
from vrtspike.profiling.memory import HostStepMemory
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import Instruments, RecordingPlan
from vrtspike.profiling.records import RunRecord, StagesRecord, StepRecord
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.profiling.timers import HostTimer

FORWARD_STAGE, BACKWARD_STAGE = "vrt.stage3", "vrt.stage6"
FORWARD_LIMIT_MS, BACKWARD_LIMIT_MS = 3.0, 5.0
Place = tuple[str, str]


class ThreadClock:
    """Processor time of the thread, which nobody else's work lengthens."""

    perf_ns = staticmethod(time.thread_time_ns)
    unix_s = staticmethod(time.time)


def sleep(ms: float) -> None:
    time.sleep(ms / 1e3)


def work(ms: float) -> None:
    """Uses so much of this thread's processor time."""
    until = time.thread_time_ns() + ms * 1e6
    while time.thread_time_ns() < until:
        pass


CLOCKS: dict[str, tuple[Clock, Callable[[float], None]]] = {
    "wall": (SystemClock(), sleep),
    "cpu": (ThreadClock(), work),
}


class _Delay(torch.autograd.Function):
    """Gives its input on, late; its gradient, too."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, delay: Callable[[float], None], forward_ms: float, backward_ms: float
    ) -> Tensor:
        ctx.delay, ctx.backward_ms = delay, backward_ms
        delay(forward_ms)
        ctx.save_for_backward(x)  # so that a recomputation comes to this point
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        ctx.saved_tensors  # noqa: B018  # unpacking is what recomputes
        ctx.delay(ctx.backward_ms)
        return gradients[0], None, None, None


@contextmanager
def delayed(
    module: nn.Module, delay: Callable[[float], None], forward_ms: float, backward_ms: float
) -> Iterator[None]:
    """The module with a delay behind what it does, while the context lasts."""
    plain = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return _Delay.apply(  # type: ignore[no-untyped-call]
            plain(*args, **kwargs), delay, forward_ms, backward_ms
        )

    module.forward = forward
    try:
        yield
    finally:
        module.forward = plain


class Collected:
    """A listener: the times of each place, disturbed steps (even numbers) and others apart."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.ms: dict[bool, dict[Place, list[float]]] = {
            True: defaultdict(list),
            False: defaultdict(list),
        }

    def on_step(self, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
        if step.step < self.warm_up:
            return
        found = self.ms[step.step % 2 == 0]
        for record in stages:
            for name, ms in record.ms.items():
                found[name, record.phase].append(ms)

    def close(self) -> None:
        pass

    def differences(self) -> dict[Place, list[float]]:
        """Each disturbed step minus the mean of the steps around it, by place."""
        plain, disturbed = self.ms[False], self.ms[True]
        return {
            place: [
                ms - (before + after) / 2
                for ms, (before, after) in zip(late, pairwise(plain[place]), strict=True)
            ]
            for place, late in disturbed.items()
        }


def make_model(options: argparse.Namespace) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """The configured network with random weights, and a random clip of its size."""
    overrides = ["MODEL.VRT.USE_CHECKPOINT_ATTN=true", "MODEL.VRT.USE_CHECKPOINT_FFN=true"]
    config = load_config(Path(options.config), overrides if options.checkpoint else [])
    torch.manual_seed(0)
    model = new_model(config, trained=True).train()
    side, frames, bins = options.side, options.frames, config.data.k
    blur = torch.rand(1, frames, 3, side, side)
    return model, (blur, torch.rand(1, frames, bins, side, side))


def take_step(recorder: Recorder, number: int, model: nn.Module, clip: tuple[Tensor, ...]) -> None:
    recorder.begin_step(number)
    with recorder.phase("forward"):
        out = model(*clip)
    with recorder.phase("loss"):
        loss = (out - clip[0]).square().mean()
    with recorder.phase("backward"):
        loss.backward()
    with recorder.phase("optimizer"):
        model.zero_grad(set_to_none=True)
    recorder.end_step(micro_batches=1, samples=1)


def delayed_parts(model: nn.Module, *, checkpoint: bool) -> tuple[nn.Module, nn.Module]:
    """What gets the delay of the forward, and what that of the backward."""
    first = "vrt.stage3.residual_group1.blocks.0.mlp" if checkpoint else "vrt.stage3"
    return model.get_submodule(first), model.get_submodule("vrt.stage6")


def measure(options: argparse.Namespace, folder: Path) -> Collected:
    model, clip = make_model(options)
    collected = Collected(warm_up=3)
    run = RunRecord(run_id="train_20260101_000000_0000", started_at="", status="running")
    plan = RecordingPlan(settings=ProfilingConfig(resources=False))
    slow_forward, slow_backward = delayed_parts(model, checkpoint=options.checkpoint)
    clock, delay = CLOCKS[options.clock]
    instruments = Instruments(clock=clock, timer=HostTimer(clock), memory=HostStepMemory())
    with Recorder(
        facts_dir=folder,
        run=run,
        plan=plan,
        device=torch.device("cpu"),
        listeners=(collected,),
        instruments=instruments,
    ) as recorder:
        recorder.observe(model, stage_submodules(use_spike=True))
        set_checkpoint_context(model, recorder.checkpoint_context)
        for number in range(1, 2 * options.rounds + 4):
            forward_ms = options.forward_ms if number % 2 == 0 else 0.0
            backward_ms = options.backward_ms if number % 2 == 0 else 0.0
            first = delayed(slow_forward, delay, forward_ms, 0.0)
            with first, delayed(slow_backward, delay, 0.0, backward_ms):
                take_step(recorder, number, model, clip)
    return collected


def expected_ms(options: argparse.Namespace) -> dict[Place, float]:
    wanted = {
        (FORWARD_STAGE, "forward"): options.forward_ms,
        (BACKWARD_STAGE, "backward"): options.backward_ms,
    }
    if options.checkpoint:
        wanted[FORWARD_STAGE, "recompute"] = options.forward_ms
    return wanted


def report(options: argparse.Namespace, collected: Collected) -> bool:
    """Prints every place; whether each shows what it must."""
    expected = expected_ms(options)
    all_right = True
    print("| stage | direction | expected ms | shown ms | undisturbed median | spread | |")
    print("|---|---|---|---|---|---|---|")
    for place, differences in collected.differences().items():
        shown = statistics.median(differences)
        spread = statistics.median(abs(each - shown) for each in differences)
        wanted = expected.get(place, 0.0)
        limit = BACKWARD_LIMIT_MS if place[1] == "backward" else FORWARD_LIMIT_MS
        right = abs(shown - wanted) <= (limit if wanted else max(limit, 2 * spread))
        all_right &= right
        median = statistics.median(collected.ms[False][place])
        print(
            f"| {place[0]} | {place[1]} | {wanted:.0f} | {shown:+.2f} | {median:.2f} |"
            f" {spread:.2f} | {'ok' if right else 'NOT'} |"
        )
    return all_right


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="configs/demo.yaml")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--forward-ms", type=float, default=30.0)
    parser.add_argument("--backward-ms", type=float, default=50.0)
    parser.add_argument("--side", type=int, default=40)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--checkpoint", action="store_true")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return 0 if report(options, measure(options, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
