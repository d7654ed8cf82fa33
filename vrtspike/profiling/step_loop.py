"""Where a loop stands that says only when its steps end: which step runs, what belongs to it.

A step begins with the first thing that happens in it: a fetch, a phase, an observed model. So what
lies between the end of one step and a span stays outside the steps. A loop in which nothing is
marked begins each step where it ended the last.
"""

from contextlib import AbstractContextManager
from typing import Any

from vrtspike.profiling.recorder import Recorder


class StepLoop:
    """Begins and ends the recorder's steps; `forwards` counts the model's runs in this one.

    Args:
        recorder: Already entered.
        first_step: The number of the first step.
    """

    def __init__(self, recorder: Recorder, first_step: int) -> None:
        self.recorder = recorder
        self.done = first_step - 1
        self.spans_open = 0
        self._begun = False
        self._touched = False
        self._fetched = 0
        self.forwards = 0

    @property
    def can_open_phase(self) -> bool:
        """Whether a phase opened now would lie in no other one and in no span."""
        return not self.spans_open and self.recorder.outside_phases

    def touch(self) -> None:
        """Something of the step happens."""
        if not self.spans_open:
            self._begin()
            self._touched = True

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A phase of the step."""
        self.touch()
        return self.recorder.phase(name)

    def fetch_begins(self) -> AbstractContextManager[None]:
        """The wait for a batch, or for the word that there is none left."""
        if not self.spans_open:
            self._begin()
        return self.recorder.phase("data_wait")

    def batch_came(self) -> None:
        """The batch belongs to the step."""
        self.touch()
        if not self.spans_open:
            self._fetched += 1

    def pause(self) -> None:
        """No batch is left, or a span begins: a step in which nothing happened has not begun."""
        if self._begun and not self._touched and not self.spans_open:
            self.recorder.withdraw_step()
            self._begun = False

    def end(self, micro_batches: int | None, samples: int | None, **figures: Any) -> None:
        """Ends the step; counts its batches where nobody says how many."""
        was_marked = self._begun
        self._begin()
        self.recorder.end_step(
            micro_batches=max(1, self._fetched or self.forwards)
            if micro_batches is None
            else micro_batches,
            samples=samples,
            **figures,
        )
        self.done += 1
        self._begun, self._touched = False, False
        self._fetched = self.forwards = 0
        if not was_marked:
            self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self.recorder.begin_step(self.done + 1)
            self._begun = True
