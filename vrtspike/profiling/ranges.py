"""Named ranges of the torch profiler's trace and of NVTX, for whoever watches.

`record_function` costs about 5 us a range even when no profiler is on, hence it is used only while
a trace is being recorded. NVTX is for a profiler outside the process, which may begin at any time,
so that its ranges are open from the first step to the last where they are asked for.
"""

from typing import Any, Protocol

import torch
from torch.profiler import record_function

Range = Any
"""An open range; only who opened it knows what it is."""


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


class Nvtx(Protocol):
    """What is used of `torch.cuda.nvtx`."""

    def range_start(self, msg: str) -> int:
        """Opens a range; gives its number."""
        ...

    def range_end(self, range_id: int) -> None:
        """Closes it."""
        ...


class NvtxRanges:
    """NVTX ranges that need not nest, since a backward range ends in another hook than it began.

    Args:
        nvtx: Replaced in tests.
    """

    def __init__(self, nvtx: Nvtx | None = None) -> None:
        self._nvtx: Nvtx = nvtx or torch.cuda.nvtx

    def open(self, name: str) -> Range | None:
        """Opens a range named exactly `name`."""
        return self._nvtx.range_start(name)

    def close(self, span: Range | None) -> None:
        """Closes the range."""
        if span is not None:
            self._nvtx.range_end(span)


class BothRanges:
    """Every range twice: in the trace and in NVTX."""

    def __init__(self, first: Ranges, second: Ranges) -> None:
        self._first = first
        self._second = second

    def open(self, name: str) -> Range | None:
        """Opens both."""
        return self._first.open(name), self._second.open(name)

    def close(self, span: Range | None) -> None:
        """Closes both."""
        if span is not None:
            first, second = span
            self._second.close(second)
            self._first.close(first)
