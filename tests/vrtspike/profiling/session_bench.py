"""What a loop of one's own needs, on a clock that moves when told."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vrtspike.profiling import RecordedRun, record


class Passing(torch.autograd.Function):
    """Takes its time forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, clock: Any, there: float, back: float) -> torch.Tensor:
        ctx.clock, ctx.back = clock, back
        ctx.save_for_backward(x)
        clock.pass_ms(there)
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        ctx.clock.pass_ms(ctx.back)
        return gradient, None, None, None


class Timed(nn.Module):
    """A layer that takes `there` ms forward and `back` ms backward."""

    def __init__(self, clock: Any, there: float, back: float) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.clock, self.there, self.back = clock, there, back

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Passing.apply(self.linear(x), self.clock, self.there, self.back)


class Net(nn.Module):
    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.encoder = Timed(clock, 30, 50)
        self.blocks = nn.ModuleList([Timed(clock, 10, 20)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(self.encoder(x))
        return x


class SlowSgd(torch.optim.SGD):
    clock: Any = None

    def step(self, closure: Any = None) -> None:
        self.clock.pass_ms(5)


class SlowLoader:
    """Two batches, 80 ms each; and 7 ms to find out that there are no more."""

    num_workers, prefetch_factor, pin_memory, persistent_workers, batch_size = 2, 2, False, True, 4

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.sampler = "the sampler"

    def __iter__(self) -> Iterator[torch.Tensor]:
        for _ in range(2):
            self.clock.pass_ms(80)
            yield torch.ones(4, 2)
        self.clock.pass_ms(7)

    def __len__(self) -> int:
        return 2


@dataclass
class Bench:
    """A folder to work in, and what a loop needs."""

    root: Path
    clock: Any
    net: Net
    loader: SlowLoader
    optimizer: SlowSgd

    def record(self, name: str = "bench", **settings: Any) -> RecordedRun:
        return record(name, resources=False, tensorboard=False, **settings)

    def train_step(self, run: RecordedRun, batch: torch.Tensor) -> torch.Tensor:
        loss = self.net(batch).mean()
        loss.backward()
        self.optimizer.step()
        run.step(loss=loss, samples=len(batch))
        return loss

    @property
    def folder(self) -> Path:
        (only,) = (self.root / "profiles").iterdir()
        return only

    @property
    def meta(self) -> dict[str, Any]:
        return json.loads((self.folder / "meta.json").read_text())

    @property
    def log(self) -> str:
        return (self.folder / self.meta["log"]).read_text()

    def lines(self, kind: str) -> list[dict[str, Any]]:
        name = "steps" if kind == "step" else "spans"
        text = (self.folder / f"{name}.rank0.jsonl").read_text()
        return [line for line in map(json.loads, text.splitlines()) if line["kind"] == kind]

    def phases(self, step: int) -> dict[str, float]:
        (found,) = (line for line in self.lines("step") if line["step"] == step)
        return {name: ms for name, ms in found["host_ms"].items() if ms}
