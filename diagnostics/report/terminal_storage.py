"""Where the data comes from, for a terminal: its size, what storage delivers, and by epoch."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.data_set import DataSet
from diagnostics.analyses.epoch_waits import EpochWaits
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.analyses.storage_reads import StorageReads
from diagnostics.analyses.validation_reads import ValidationReads
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import heading, indented


def storage_part(analysis: RunAnalysis) -> Iterator[RenderableType]:
    """Nothing where the run told none of it."""
    held, reads, waits = analysis.data_set, analysis.storage_reads, analysis.epoch_waits
    lines = [
        *([] if held is None else _data_set(held)),
        *([] if reads is None else _reads(reads)),
        *([] if waits is None else _waits(waits)),
        *([] if analysis.validation_reads is None else _validations(analysis.validation_reads)),
    ]
    if lines:
        yield heading("Where the data comes from")
        yield from map(indented, lines)


def _data_set(held: DataSet) -> Iterator[str]:
    if held.train_frames is None or held.frame_reads is None:
        return
    yield say(
        "{samples} samples of {frames} frames, of which an epoch reads {reads}: {files} in files, "
        "{decoded} decoded.",
        samples=units.number(held.train_samples, 0),
        frames=units.number(held.train_frames, 0),
        reads=units.number(held.frame_reads, 0),
        files=units.size(held.file_bytes),
        decoded=units.size(held.decoded_bytes),
    )


def _reads(reads: StorageReads) -> Iterator[str]:
    yield say(
        "What makes the batches fetched {rate} a second from disks and servers, {of_batch} for "
        "each batch.",
        rate=units.size(reads.bytes_per_s),
        of_batch=units.size(reads.bytes_per_batch),
    )


def _validations(reads: ValidationReads) -> Iterator[str]:
    yield say(
        "A validation fetched {size} in {seconds} s, with {cores} cores busy.",
        size=units.size(reads.bytes_read),
        seconds=units.number(reads.seconds, 1),
        cores=units.number(reads.cores, 2),
    )


def _waits(waits: EpochWaits) -> Iterator[str]:
    first = units.ms(waits.first.wait_ms)
    if waits.later is None:
        yield say(
            "The first epoch's steps waited {first} ms each for data; no second one was seen.",
            first=first,
        )
        return
    yield say(
        "The first epoch's steps waited {first} ms each for data, those of the later ones {later} "
        "ms.",
        first=first,
        later=units.ms(waits.later.wait_ms),
    )
