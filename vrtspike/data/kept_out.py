"""Files that a conversion cannot read: they end it, or are kept out, named and counted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vrtspike.data.damage import explained
from vrtspike.data.settings import BadSamples
from vrtspike.errors import DataError


def fault_of(path: Path, error: DataError) -> str:
    """What is wrong with a file, without its name: the data set may move."""
    return explained(error).removeprefix(f"{path}: ")


@dataclass
class KeptOut:
    """The files kept out so far.

    Attributes:
        policy: `DATA.BAD_SAMPLES`.
        most_share: Of `files` that may be kept out, 0..1.
        files: All that are converted.
        say: Called with a line for each.
    """

    policy: BadSamples
    most_share: float
    files: int
    say: Callable[[str], None]
    count: int = 0

    def add(self, path: Path, fault: str) -> None:
        """Keep one more out.

        Raises:
            DataError: none may be, or it is one too many.
        """
        if self.policy == "stop":
            raise DataError(
                f"{path}: {fault}. --bad-samples skip keeps such files out of the store, which "
                "DATA.BAD_SAMPLES=skip then trains on"
            )
        self.count += 1
        if self.count > self.most_share * self.files:
            raise DataError(
                f"{path}: {fault}. It is file {self.count} of {self.files} that is damaged, more "
                f"than --max-bad-share {self.most_share:g} allows; the same command with a larger "
                "one goes on from here"
            )
        self.say(f"kept out: {path}: {fault}")

    def line(self) -> str:
        """What to do now; empty where nothing was kept out."""
        if not self.count:
            return ""
        return (
            f"{self.count} of {self.files} files are damaged and were kept out: train with "
            "DATA.BAD_SAMPLES=skip, or replace them and convert again"
        )
