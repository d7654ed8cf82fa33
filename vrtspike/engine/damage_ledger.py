"""Counts the damaged samples of an epoch, tells of each, and ends the run above the share allowed.

Each rank counts its own; the sum over ranks travels with the figures of each step, so that all of
them stop at the same step with the same line.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vrtspike.data.damage import DAMAGE, Damage
from vrtspike.engine.batch_stream import Batch
from vrtspike.errors import DataError

MAX_LINES = 20
"""Damaged files named in the log; the facts name more."""
MAX_EVENTS = 1000


@dataclass(frozen=True)
class Telling:
    """Where damage is told: lines for the log, and events for the record (name, values)."""

    say: Callable[[str], None]
    event: Callable[..., None]


class DamageLedger:
    """The damaged samples of one split.

    Args:
        split: Its name.
        samples: Samples of an epoch over all ranks.
        max_share: The largest share of them that may be damaged, 0..1.
        telling: Where to.
        count: This rank's so far in the epoch, of a run that goes on.
        epoch: The epoch that they belong to.
    """

    def __init__(
        self,
        split: str,
        samples: int,
        max_share: float,
        telling: Telling,
        *,
        count: int = 0,
        epoch: int = 0,
    ) -> None:
        self._split = split
        self._samples = samples
        self._max_share = max_share
        self._telling = telling
        self._told: set[str] = set()
        self._first: str | None = None
        self.epoch = epoch
        self.count = count
        """Of this rank in this epoch."""
        self.total = count
        """Of all ranks in this epoch, as far as it was judged."""

    def begin(self, epoch: int) -> None:
        """What comes from now on belongs to this epoch."""
        if epoch != self.epoch:
            self.epoch, self.count, self.total = epoch, 0, 0

    def note(self, batch: Batch) -> None:
        """Count and tell the damage of a batch."""
        for damage in batch.get(DAMAGE, ()):
            self.count += 1
            if damage.reason not in self._told and len(self._told) < MAX_EVENTS:
                self._told.add(damage.reason)
                self._tell(damage)

    def judge(self, total: int) -> None:
        """Hear how many all ranks have counted.

        Raises:
            DataError: they are too many; every rank hears the same number.
        """
        self.total = total
        if total <= self._max_share * self._samples:
            return
        first = self._first or "the facts of the other ranks name them"
        raise DataError(
            f"{total} of the {self._samples} samples of split '{self._split}' are damaged, more "
            f"than DATA.MAX_BAD_SHARE={self._max_share:g} allows; first: {first}. Repair the "
            "files, or raise DATA.MAX_BAD_SHARE"
        )

    def conclude(self) -> None:
        """The epoch's count, where there is any."""
        if not self.total:
            return
        share = self.total / self._samples
        self._telling.say(
            f"[data] {self.total} of {self._samples} samples of split '{self._split}' were damaged "
            f"({share:.2%}; the run stops above {self._max_share:.2%})"
        )
        self._telling.event(
            "damaged_samples",
            split=self._split,
            count=self.total,
            samples=self._samples,
            max_share=self._max_share,
        )

    def _tell(self, damage: Damage) -> None:
        self._first = self._first or damage.reason
        if len(self._told) <= MAX_LINES:
            self._telling.say(f"[data] {damage.line}")
        if len(self._told) == MAX_LINES:
            self._telling.say("[data] further damaged files are named in the facts only")
        self._telling.event(
            "damaged_sample",
            split=damage.split,
            sample=damage.sample,
            replaced_by=damage.replaced_by,
            reason=damage.reason,
        )
