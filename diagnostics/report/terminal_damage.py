"""Damaged samples, for a terminal: how many of each split, and which files."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.damaged_samples import DamagedSamples, DamagedSplit
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import heading, indented

MAX_FILES = 5


def damage_part(found: DamagedSamples | None) -> Iterator[RenderableType]:
    """Nothing where nothing was damaged."""
    if found is None or not (found.files or found.splits):
        return
    yield heading("Damaged samples")
    for split in found.splits:
        yield indented(_count(split))
    for words in found.files[:MAX_FILES]:
        yield indented(say("- {words}", words=words))
    if len(found.files) > MAX_FILES:
        rest = len(found.files) - MAX_FILES
        yield indented(say("- and {rest} more files (--json has all of them)", rest=rest))


def _count(split: DamagedSplit) -> str:
    if split.max_share is None:
        return say(
            "{count} of {samples} samples of split '{split}' ({share}).",
            count=split.count,
            samples=split.samples,
            split=split.split,
            share=units.share(split.share),
        )
    return say(
        "{count} of {samples} samples of split '{split}' ({share}; the run stops above "
        "{max_share}).",
        count=split.count,
        samples=split.samples,
        split=split.split,
        share=units.share(split.share),
        max_share=units.share(split.max_share),
    )
