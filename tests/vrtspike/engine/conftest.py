"""A model small enough to reason about, and everything a trainer needs around it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from vrtspike.engine.batch_stream import Batch, BatchStream
from vrtspike.engine.checkpoint import Position
from vrtspike.engine.distributed import World
from vrtspike.engine.interrupts import StopRequest
from vrtspike.engine.learner import Learner
from vrtspike.engine.losses import TrainingLoss
from vrtspike.engine.numerics import NumericsGuard, Reporting, first_bad_tensor
from vrtspike.engine.precision import choose_precision
from vrtspike.engine.settings import LossConfig, TrainConfig
from vrtspike.engine.trainer import Crew, Schedule, Trainer
from vrtspike.profiling.null_recorder import NullRecorder

CPU = torch.device("cpu")


class TinyModel(nn.Module):
    """Two named layers and a global residual; no dropout, so that sums can be compared."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv3d(3, 4, 3, padding=1)
        self.tail = nn.Conv3d(4, 3, 3, padding=1)

    def forward(self, blur: torch.Tensor, vox: torch.Tensor) -> torch.Tensor:
        x = self.tail(torch.tanh(self.body(blur.transpose(1, 2))))
        return blur + x.transpose(1, 2) + 0 * vox.mean()


def make_batch(seed: int, clips: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    blur, sharp = torch.rand(2, clips, 2, 3, 16, 16, generator=generator)
    vox = torch.rand(clips, 2, 4, 8, 8, generator=generator)
    return {"blur": blur, "sharp": sharp, "spike_vox": vox, "meta": {"seq": [f"clip{seed}"]}}


@dataclass
class ListSource:
    """The same batches in every epoch; remembers what was asked for."""

    batches: list[Batch]
    started: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.batches)

    def start(self, epoch: int, micro_batch: int) -> Iterator[Batch]:
        self.started.append((epoch, micro_batch))
        return iter(self.batches[micro_batch:])


class MemorySaver:
    """Remembers what would have been saved."""

    def __init__(self) -> None:
        self.best_psnr_db: float | None = None
        self.saved: list[tuple[str, Position]] = []

    def save(self, name: str, position: Position) -> None:
        self.saved.append((name, position))


@dataclass
class Bench:
    """A trainer on a bench, and its parts within reach."""

    learner: Learner
    crew: Crew
    schedule: Schedule
    said: list[str]
    events: list[tuple[str, dict]]
    saver: MemorySaver

    def trainer(self, **crew) -> Trainer:
        crew = replace(self.crew, **crew)
        return Trainer(self.learner, crew, self.schedule, Position())

    def train(self, **crew) -> bool:
        return self.trainer(**crew).run()


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return make_bench


def make_learner(accumulation: int = 1, lr: float = 0.1) -> Learner:
    torch.manual_seed(0)
    model = TinyModel()
    return Learner(
        model=model,
        network=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=lr),
        precision=choose_precision(TrainConfig(epochs=1), CPU),
        loss=TrainingLoss(LossConfig()),
        accumulation=accumulation,
        max_grad_norm=1e9,
    )


def make_bench(
    batches: list[Batch], steps: int, *, accumulation: int = 1, save_every: int = 1000
) -> Bench:
    learner = make_learner(accumulation)
    said: list[str] = []
    events: list[tuple[str, dict]] = []
    guard = NumericsGuard(
        World(CPU),
        Reporting(said.append, lambda name, **values: events.append((name, values))),
        lambda found: first_bad_tensor(learner.model, found, learner.loss_of),
    )
    saver = MemorySaver()
    crew = Crew(
        world=World(CPU),
        stream=BatchStream(ListSource(batches)),
        recorder=NullRecorder(),
        guard=guard,
        saver=saver,
        say=said.append,
        stop=StopRequest(),
    )
    schedule = Schedule(
        total_steps=steps, validate_every=1000, save_every=save_every, rate=lambda done: 0.1
    )
    return Bench(learner, crew, schedule, said, events, saver)


@pytest.fixture
def batch() -> Callable[..., Batch]:
    return make_batch


@pytest.fixture
def list_source() -> type[ListSource]:
    return ListSource


@pytest.fixture
def learner() -> Callable[..., Learner]:
    return make_learner
