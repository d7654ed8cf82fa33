"""Ctrl-C and SIGTERM: finish the step, save, then end with the shell's exit code."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ECHO_S = 1.0
"""torchrun passes a Ctrl-C on that its children already got from the terminal; what arrives
within this time is that echo, not a second wish."""


class StopRequest:
    """Remembers that a signal asked the run to stop; `exit_code` is 128 + the signal's number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._signal: int | None = None
        self._first_s = 0.0

    @property
    def requested(self) -> bool:
        """Whether to end after this step."""
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 0 without a signal."""
        return 0 if self._signal is None else 128 + self._signal

    @property
    def signal_name(self) -> str:
        """For the log."""
        return "none" if self._signal is None else signal.Signals(self._signal).name

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """Signal handler: the first call asks for a stop, a later Ctrl-C stops at once."""
        del frame
        if self._signal is None:
            self._signal, self._first_s = number, self._clock()
            let_children_die()
        elif number == signal.SIGINT and self._clock() - self._first_s > _ECHO_S:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Receive SIGINT and SIGTERM inside the body; the old handlers return afterwards."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        old = {number: signal.signal(number, self.receive) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def let_children_die() -> None:
    """Forget the DataLoader's SIGCHLD handler.

    It raises in the middle of whatever runs when a loading process dies, and a signal to the whole
    process group kills them while the step and the checkpoint have still to be finished.
    """
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, _unheard)


def _unheard(number: int, frame: FrameType | None) -> None:
    """Does nothing; of a signal that was due when its handler went, Python prints a traceback."""
