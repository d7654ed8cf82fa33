"""Named ranges of the torch profiler's trace, opened only while a trace is being recorded.

`record_function` costs about 5 us a range even when no profiler is on, hence the gate.
"""

from typing import Protocol

from torch.profiler import record_function

Range = record_function


class Ranges(Protocol):
    """Opens and closes named ranges."""

    def open(self, name: str) -> Range | None:
        """Opens a range, or gives None where none is wanted."""
        ...

    def close(self, span: Range | None) -> None:
        """Closes what `open` gave."""
        ...


class NoRanges:
    """No trace: no ranges."""

    def open(self, name: str) -> Range | None:
        """Nothing."""
        return None

    def close(self, span: Range | None) -> None:
        """Nothing to close."""


class TraceRanges:
    """Ranges of a trace while `recording` is set."""

    def __init__(self) -> None:
        self.recording = False

    def open(self, name: str) -> Range | None:
        """Opens a range named exactly `name` if a trace is being recorded."""
        if not self.recording:
            return None
        span = record_function(name)
        span.__enter__()
        return span

    def close(self, span: Range | None) -> None:
        """Closes the range."""
        if span is not None:
            span.__exit__(None, None, None)
