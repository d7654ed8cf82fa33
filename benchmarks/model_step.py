"""Times a training step of the network, explicit against fused attention, measured in turn.

    python benchmarks/model_step.py --channels 16 --repeats 10 --stages

The two variants alternate within one process, so that a busy machine slows both alike. Times are
medians; the first two rounds are left out.
"""

import argparse
import time
from collections import defaultdict
from statistics import median
from typing import Literal

import torch
from torch import Tensor, nn

from vrtspike.model.build import build_model
from vrtspike.model.settings import Attention, ChunkedAttentionConfig, FuseConfig, ModelConfig
from vrtspike.model.stages import stage_submodules

WARM_UP = 2
Variant = Literal["explicit", "fused"]
VARIANTS: tuple[Variant, ...] = ("explicit", "fused")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("channels", 16),
        ("frames", 4),
        ("crop", 64),
        ("window", 4),
        ("heads", 4),
        ("depth", 2),
        ("groups", 4),
        ("bins", 8),
        ("batch", 1),
        ("repeats", 8),
        ("threads", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stages", action="store_true", help="also each stage's forward share")
    return parser.parse_args()


def build(args: argparse.Namespace, attention: Attention) -> nn.Module:
    torch.manual_seed(0)
    config = ModelConfig(
        channels_per_scale=(args.channels,) * 4,
        vrt_depths=(args.depth,) * 8,
        window_size=args.window,
        num_heads=args.heads,
        deform_groups=args.groups,
        attention=attention,
        spike_tsa=ChunkedAttentionConfig(heads=args.heads),
        fuse=FuseConfig(heads=args.heads),
    )
    network = build_model(config, clip_len=args.frames, crop_size=args.crop, bins=args.bins)
    return network.to(args.device)


def clock_ms(device: str) -> float:
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() * 1e3


class StageClock:
    """Adds up the forward time of every stage, from hooks."""

    def __init__(self, network: nn.Module, device: str) -> None:
        self.total_ms: dict[str, float] = defaultdict(float)
        for stage, paths in stage_submodules(use_spike=True).items():
            for path in paths:
                self._watch(network.get_submodule(path), stage, device)

    def _watch(self, module: nn.Module, stage: str, device: str) -> None:
        def enter(*_: object) -> None:
            self.total_ms[stage] -= clock_ms(device)

        def leave(*_: object) -> None:
            self.total_ms[stage] += clock_ms(device)

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)


def step(
    network: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor], device: str
) -> dict[str, float]:
    blur, spikes, sharp = batch
    cpu = time.process_time()
    start = clock_ms(device)
    loss = torch.sqrt((network(blur, spikes) - sharp) ** 2 + 1e-9).mean()
    forward = clock_ms(device)
    loss.backward()
    backward = clock_ms(device)
    optimizer.step()
    optimizer.zero_grad()
    end = clock_ms(device)
    return {
        "forward": forward - start,
        "backward": backward - forward,
        "optimizer": end - backward,
        "step": end - start,
        "cpu": (time.process_time() - cpu) * 1e3,
    }


def main() -> None:
    args = parse_arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    shape = (args.batch, args.frames)
    batch = [
        torch.rand(*shape, channels, side, side, device=args.device)
        for channels, side in ((3, args.crop), (args.bins, args.crop // 2), (3, args.crop))
    ]
    networks = {name: build(args, name) for name in VARIANTS}
    optimizers = {
        name: torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
        for name, network in networks.items()
    }
    clocks: dict[str, StageClock] = {}
    times: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in VARIANTS}
    for turn in range(WARM_UP + args.repeats):
        if turn == WARM_UP and args.stages:
            clocks = {name: StageClock(net, args.device) for name, net in networks.items()}
        for name in VARIANTS:
            taken = step(networks[name], optimizers[name], batch, args.device)
            if turn >= WARM_UP:
                for phase, value in taken.items():
                    times[name][phase].append(value)
    report(times, clocks, args)


def report(
    times: dict[str, dict[str, list[float]]],
    clocks: dict[str, StageClock],
    args: argparse.Namespace,
) -> None:
    print(
        f"torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads, {vars(args)}"
    )
    phases = list(times[VARIANTS[0]])
    print(f"{'median ms':12}" + "".join(f"{phase:>12}" for phase in phases))
    for name in VARIANTS:
        row = "".join(f"{median(times[name][phase]):12.1f}" for phase in phases)
        print(f"{name:12}{row}")
    for watched, clock in clocks.items():
        whole = sum(times[watched]["forward"])
        print(f"\nforward of {watched}, share by stage")
        for stage, spent in clock.total_ms.items():
            print(f"  {stage:20}{spent / whole:8.1%}")
        print(f"  {'forward.other':20}{1 - sum(clock.total_ms.values()) / whole:8.1%}")


if __name__ == "__main__":
    main()
