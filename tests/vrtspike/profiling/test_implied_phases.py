"""Phases that a loop does not name: where the backward ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.autograd import Variable

from vrtspike.profiling.implied_phases import ImpliedPhases


class Loop:
    """Stands for a step loop: keeps which phase is open."""

    can_open_phase = True
    spans_open = 0
    forwards = 0

    def __init__(self) -> None:
        self.phase_now: str | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.phase_now = name
        yield
        self.phase_now = None


def test_what_waits_for_other_ranks_at_the_end_of_the_engine_is_backward() -> None:
    loop = Loop()
    phases = ImpliedPhases(loop)  # type: ignore[arg-type]
    model = nn.Linear(2, 2)
    phases.watch_forward(model, [])
    seen: list[str | None] = []

    def as_distributed_training_does(gradient: torch.Tensor) -> None:
        Variable._execution_engine.queue_callback(lambda: seen.append(loop.phase_now))

    model.weight.register_hook(as_distributed_training_does)
    model(torch.ones(1, 2)).sum().backward()
    phases.detach()

    assert seen == ["backward"]
    assert loop.phase_now is None
