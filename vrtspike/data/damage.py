"""Samples that cannot be loaded: stop at the first, or go on without them, the same on every rank.

In training another sample takes the place of a damaged one, drawn from (seed, epoch, index) alone:
so every rank still has as many batches as the others, and a resumed run sees what an uninterrupted
one would have seen. In validation a damaged sample is left out, since another one in its place
would count twice.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vrtspike.data.loading_faults import LoadingFaultError
from vrtspike.data.settings import BadSamples
from vrtspike.errors import DataError

DAMAGE = "damage"
"""Key of a batch that holds its damage, a tuple of `Damage`; absent from a batch without any."""
_TRIES = 10
"""Samples drawn in the place of one: ten in a row that fail are no chance at any share allowed."""
_RNG_REPLACEMENT = 2
"""A stream of random numbers apart from those of the order and of the crops."""

Sample = Mapping[str, Any]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Damage:
    """A sample that could not be loaded. `reason` begins with the path of the file at fault.

    `replaced_by` is the sample in its place, None where it was left out.
    """

    split: str
    sample: int
    reason: str
    replaced_by: int | None = None

    @property
    def line(self) -> str:
        """For a log."""
        done = "left out" if self.replaced_by is None else f"replaced by sample {self.replaced_by}"
        return f"damaged sample {self.sample} of split '{self.split}' {done}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class DamagePolicy:
    """What to do about a sample that cannot be loaded."""

    policy: BadSamples
    split: str
    length: int
    training: bool
    seed: int
    condemned: dict[Path, str] = field(default_factory=dict)
    """Files that were found damaged before the run, with the reason."""

    def check(self, path: Path | None) -> None:
        """Refuse a file that is known to be damaged; raises DataError with the reason."""
        if path is not None and (reason := self.condemned.get(path)) is not None:
            raise DataError(reason)

    def load(self, index: int, epoch: int, take: Callable[[int], Sample]) -> Sample:
        """The sample, or what stands in its place.

        Args:
            index: Which sample of the split.
            epoch: Of the run.
            take: Loads a sample.

        Raises:
            DataError: naming the file that is broken, where the policy is to stop.
        """
        try:
            return take(index)
        except LoadingFaultError:  # no file is to blame
            raise
        except DataError as error:
            reason = explained(error)
            if self.policy == "stop":
                raise DataError(
                    f"{reason}. DATA.BAD_SAMPLES=skip goes on without such samples"
                ) from error
        if not self.training:
            return {DAMAGE: Damage(self.split, index, reason)}
        return self._another(index, epoch, take, reason)

    def _another(
        self, index: int, epoch: int, take: Callable[[int], Sample], reason: str
    ) -> Sample:
        rng = np.random.default_rng([self.seed, epoch, index, _RNG_REPLACEMENT])
        last = reason
        for number in rng.integers(0, self.length, _TRIES).tolist():
            try:
                return {**take(number), DAMAGE: Damage(self.split, index, reason, number)}
            except LoadingFaultError:
                raise
            except DataError as error:
                last = explained(error)
        raise DataError(
            f"{reason}; of {_TRIES} samples drawn in its place none can be loaded either, last: "
            f"{last}. Is the disk or the network share of the data set still there?"
        )


def first_readable(items: Sequence[T], read: Callable[[T], R], policy: BadSamples) -> tuple[T, R]:
    """The first item that can be read, and what was read.

    Raises:
        DataError: of the first, where the policy is to stop or none can be read.
    """
    first: DataError | None = None
    for item in items:
        try:
            return item, read(item)
        except LoadingFaultError:
            raise
        except DataError as error:
            first = first or error
            if policy == "stop":
                break
    raise first or DataError("nothing to read")


def damage_of(samples: Sequence[Sample]) -> tuple[Sequence[Sample], tuple[Damage, ...]]:
    """Samples that are there, without word of damage, and the damage."""
    found = tuple(each[DAMAGE] for each in samples if DAMAGE in each)
    if not found:
        return samples, ()
    whole = [{k: v for k, v in each.items() if k != DAMAGE} for each in samples]
    return [each for each in whole if each], found


def explained(error: DataError) -> str:
    """The error's words; a file that has gone since the data set was scanned gets a question."""
    text = str(error).rstrip(". ")
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"{text} (it was there when the data set was scanned: removed, or unmounted?)"
    return text
