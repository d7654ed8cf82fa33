"""Tells the device's allocator which step, phase and stage is running, for its history.

Every allocation that it remembers then says so (`step=12 phase=backward stage=vrt.stage3`), in the
backward as well, where no Python frame does. Needs `PROFILING.MEMORY_HISTORY` and a PyTorch whose
history takes labels; costs a call for each range, about a microsecond.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch

from vrtspike.profiling.parts import NO_FIELDS, RecorderPart, StepFields
from vrtspike.profiling.ranges import Range
from vrtspike.profiling.records import PHASES

_log = logging.getLogger(__name__)
_DIRECTIONS = {".backward": "backward", ".recompute": "recompute"}
"""How ranges of stages end outside the forward."""


class MemoryLabels(RecorderPart):
    """Hears of steps as a part of the recorder, and of phases and stages as its ranges.

    Args:
        tell: Hands a label to the allocator.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell: Callable[[str], None] | None = tell
        self._step = 0
        self._open: list[str] = []

    def step_begins(self, step: int) -> None:
        """What is allocated from now on belongs to this step."""
        self._step = step
        self._say()

    def step_ends(self, step: int) -> StepFields:
        """What follows belongs to no step until the next one begins."""
        self._step = 0
        self._say()
        return NO_FIELDS

    def finish(self) -> None:
        """The last label goes."""
        self._open.clear()
        self._step = 0
        self._say()

    def open(self, name: str) -> Range | None:
        """A phase or a stage begins."""
        self._open.append(name)
        self._say()
        return name

    def close(self, span: Range | None) -> None:
        """It ends; what it lies in goes on. Ranges of the backward may end out of order."""
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place] == span:
                del self._open[place]
                break
        self._say()

    def _say(self) -> None:
        if self._tell is None:
            return
        try:
            self._tell(self._label())
        except (RuntimeError, TypeError) as error:  # an API without a promise
            _log.debug("allocations get no labels: %s", error)
            self._tell = None

    def _label(self) -> str:
        words = [f"step={self._step}"] if self._step else []
        phase = next((name for name in reversed(self._open) if name in PHASES), None)
        stage = next((name for name in reversed(self._open) if name not in PHASES), None)
        for ending, direction in _DIRECTIONS.items():
            if stage is not None and stage.endswith(ending):
                stage, phase = stage.removesuffix(ending), direction
        words += [f"phase={phase}"] if phase else []
        words += [f"stage={stage.replace(' ', '_')}"] if stage else []
        return " ".join(words)


def memory_labels(device: torch.device, entries: int) -> MemoryLabels | None:
    """Labels where there is a history of allocations that takes them."""
    tell: Any = getattr(torch.cuda.memory, "_set_memory_metadata", None)
    if device.type != "cuda" or not entries or tell is None:
        return None
    return MemoryLabels(tell)
