"""What measures something more about each step, without the recorder knowing what it is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from vrtspike.profiling.spans import Value

StepFields = Mapping[str, Callable[[], object]]
"""Fields of `StepRecord` and how to read each once the device has passed the step's end."""

NO_FIELDS: StepFields = {}


class PartHost(Protocol):
    """What a part may ask of the recorder that it belongs to."""

    @property
    def facts_dir(self) -> Path:
        """The run's folder of facts."""
        ...

    def tag(self, tag: str) -> None:
        """Tags the running step, or the next one between steps."""
        ...

    def event(self, name: str, **values: Value) -> None:
        """Writes down that something happened now."""
        ...


class RecorderPart:
    """Hears when steps begin and end; every method may be left as it is.

    A part must not raise for a fault of its own, nor wait for the device inside a step.
    """

    def start(self, host: PartHost) -> None:
        """The run's folder is there; the first step has not begun."""

    def step_begins(self, step: int) -> None:
        """A step has begun."""

    def step_ends(self, step: int) -> StepFields:
        """A step is about to be closed; gives what its record shall hold besides."""
        return NO_FIELDS

    def span_begins(self, name: str) -> None:
        """A span outside the steps has begun."""

    def span_ends(self) -> None:
        """The innermost span has ended."""

    def failed(self, error: BaseException) -> None:
        """The run ends with an error; `finish` follows."""

    def finish(self) -> None:
        """The run is over; the facts are still open."""
