"""What a step of the measured run and of each plan does, as the trainer's side states it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from diagnostics.analyses.memory_demand import ModelDemand
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say

UNFIT = "the work of the plans does not fit this version: {error}"


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """One stage in one forward pass of a micro-batch: FLOPs, and bytes kept for the backward.

    `blocks` counts the layers that run one after the other: each costs something by itself.
    """

    name: str
    flops: float
    kept_bytes: float
    blocks: float


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """What one optimizer step does. `settings` are those that decide its cost.

    `samples_per_step` is of all ranks, the rest of one. `pixels` are those of a micro-batch.
    `start_bytes` is what the process holds beside the network.
    """

    name: str
    settings: Mapping[str, Any]
    micro_batches: int
    samples_per_step: int
    pixels: int
    batch_bytes: int
    parameters: int
    is_half: bool
    stages: tuple[StageWork, ...]
    model: ModelDemand
    start_bytes: int

    @property
    def flops(self) -> float:
        """Of all forward passes of the step."""
        return self.micro_batches * sum(each.flops for each in self.stages)

    @property
    def memory_bytes(self) -> int:
        """The peak of one rank: on a GPU that of its memory, on a CPU of the process."""
        return self.start_bytes + self.model.total_bytes


@dataclass(frozen=True, kw_only=True)
class PlanWork:
    """The work of the measured run and of each plan."""

    run: StepWork
    plans: tuple[StepWork, ...]


def work_from_mapping(mapping: Mapping[str, Any]) -> PlanWork:
    """The work as plain data, checked.

    Raises:
        DiagnosticsError: a key is missing or of another type: trainer and tools do not match.
    """
    try:
        return msgspec.convert(mapping, PlanWork)
    except msgspec.ValidationError as error:
        raise DiagnosticsError(say(UNFIT, error=error)) from None
