"""Samples that the run could not load and went on without. Pure."""

from dataclasses import dataclass
from typing import Any

from diagnostics.run import FACTS, Run

FILE_EVENT, COUNT_EVENT = "damaged_sample", "damaged_samples"


@dataclass(frozen=True, kw_only=True)
class DamagedSplit:
    """The most damaged samples of a split in one pass through it, over all ranks."""

    split: str
    count: int
    samples: int
    max_share: float | None

    @property
    def share(self) -> float:
        """Of the split's samples."""
        return self.count / self.samples


@dataclass(frozen=True, kw_only=True)
class DamagedSamples:
    """What was damaged. `files` are the trainer's own words, each beginning with the path.

    `splits` is empty where the run ended before it had gone through a split.
    """

    files: tuple[str, ...] = ()
    splits: tuple[DamagedSplit, ...] = ()


def compute_damaged_samples(run: Run) -> DamagedSamples | None:
    """None where the trainer does not say whether samples were damaged."""
    if run.evidence != FACTS or run.info.trainer == "own":
        return None
    events = run.tables.events
    told = events.loc[events["name"] == FILE_EVENT, "values"]
    files = [values.get("reason") for values in told]
    counted = [_split(values) for values in events.loc[events["name"] == COUNT_EVENT, "values"]]
    most: dict[str, DamagedSplit] = {}
    for each in counted:
        if each is not None and (each.split not in most or each.count > most[each.split].count):
            most[each.split] = each
    return DamagedSamples(
        files=tuple(dict.fromkeys(each for each in files if isinstance(each, str))),
        splits=tuple(most.values()),
    )


def _split(values: dict[str, Any]) -> DamagedSplit | None:
    """What a record says, where it says it in numbers that can be."""
    split, count, samples = values.get("split"), values.get("count"), values.get("samples")
    share = values.get("max_share")
    if not isinstance(split, str) or not isinstance(count, int) or not isinstance(samples, int):
        return None
    if not 0 < count <= samples:
        return None
    is_known = isinstance(share, int | float) and 0 <= share <= 1
    return DamagedSplit(
        split=split, count=count, samples=samples, max_share=share if is_known else None
    )
