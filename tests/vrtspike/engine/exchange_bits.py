"""`torchrun exchange_bits.py VARIANT ...`: a watched exchange gives DDP's own gradients."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vrtspike.engine.distributed import World, join_world
from vrtspike.profiling.communication import Communication
from vrtspike.profiling.gradient_exchange import average_gradients
from vrtspike.profiling.records import CommunicationRecord

STEPS = 3


def learn(
    world: World, accumulation: int = 1, compiler: str | None = None, **options: Any
) -> tuple[list[Tensor], list[CommunicationRecord]]:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(4)))
    if compiler is not None:
        model[1].forward = torch.compile(model[1].forward, backend=compiler, dynamic=False)
    network = DistributedDataParallel(model, gradient_as_bucket_view=True, **options)
    watch = world.watch
    if watch is not None:
        network.register_comm_hook(None, watch.timed(average_gradients))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(world.rank)
    gradients, records = [], []
    for step in range(STEPS):
        if watch is not None:
            watch.step_begins(step)
        for number in range(accumulation):
            with nullcontext() if number == accumulation - 1 else network.no_sync():
                network(torch.randn(8, 64, generator=generator)).square().mean().backward()
        if watch is not None:
            world.sum(torch.ones(1))
            records.append(watch.step_ends(step)["communication"]())
        gradients += [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return gradients, records


def compare(world: World, **options: Any) -> None:
    expected, _ = learn(world, **options)
    watched = replace(world, watch=Communication.fitting(world.device))
    found, records = learn(watched, **options)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True)), options
    num_bytes = 4 * 4 * (64 * 64 + 64)
    for record in records:
        assert record.exchanges == 1, record
        assert record.bytes == num_bytes, record
        assert record.ms >= record.exposed_ms > 0, record
        assert record.wait_ms > 0, record
    print("same", *options, flush=True)


VARIANTS = {
    "plain": {},
    "accumulation": {"accumulation": 3},
    "buckets": {"bucket_cap_mb": 0.02},
    "static_graph": {"static_graph": True},
    "compiled": {"compiler": "aot_eager"},
}

if __name__ == "__main__":
    world = join_world("cpu")
    for name in sys.argv[1:]:
        compare(world, **VARIANTS[name])
    world.leave()
