"""Checkpoints that cannot be written in the middle of a run: said once, then counted."""

from collections.abc import Callable

from vrtspike.counted import counted


class SaveTroubles:
    """The first failure in a row is said with its reason; the others with how it went on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._in_a_row = 0
        self._last_step = 0

    def failed(self, step: int, reason: str) -> None:
        """A checkpoint could not be written."""
        self._in_a_row += 1
        self._last_step = step
        if self._in_a_row == 1:
            self._say(f"[checkpoint] step {step} | WARNING: {reason}")

    def over(self) -> None:
        """One was written, or the run ends."""
        if self._in_a_row > 1:
            more = counted(self._in_a_row - 1, "further checkpoint")
            self._say(
                f"[checkpoint] step {self._last_step} | WARNING: {more} could not be written, "
                "this one last"
            )
        self._in_a_row = 0
