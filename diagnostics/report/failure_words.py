"""An allocation that failed, in sentences."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType

from diagnostics.analyses.allocation_failures import AllocationFailure
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import heading, indented
from diagnostics.report.model import Report

MAX_FAILURES = 4
_CAUSES = {
    "larger_than_gpu": "It is larger than the whole GPU: freeing other memory cannot make it fit.",
    "not_granted": (
        "The driver called more than that free and did not grant it: another process took it "
        "meanwhile, or this one may use a part of the GPU only."
    ),
    "fragmented": (
        "Enough lay unused in PyTorch's own reserve, but in pieces: fragmentation, not size."
    ),
    "scattered": (
        "Asked for: {asked}. Free: {free}; unused in PyTorch's own reserve: {unused}. Neither "
        "was enough, only both together: nearly a matter of size."
    ),
    "others": "It would have fitted without the other processes on this GPU.",
    "size": "Tensors hold the rest: this is a matter of size, not of fragmentation.",
    "unknown": "The message does not say enough to tell size from fragmentation.",
}


def failure_section(report: Report) -> Iterator[RenderableType]:
    """What each failure asked for, what there was, and why it failed."""
    failures = report.analysis.allocation_failures
    if not failures:
        return
    yield heading("Memory that ran out")
    for failure in failures[:MAX_FAILURES]:
        yield indented(describe_failure(failure), style="yellow")
        for detail in failure_details(failure):
            yield indented(say("- {detail}", detail=detail))
    if len(failures) > MAX_FAILURES:
        left = len(failures) - MAX_FAILURES
        yield indented(say("and {left} more (--json has all of them)", left=left))


def failure_mappings(report: Report) -> list[dict[str, Any]]:
    """For a JSON report: each failure with what lacked, and its cause as a sentence."""
    return [
        {**asdict(each), "missing_bytes": each.missing_bytes, "reason": _reason(each)}
        for each in report.analysis.allocation_failures
    ]


def _reason(failure: AllocationFailure) -> str:
    if failure.cause != "scattered":
        return _CAUSES[failure.cause]
    return say(
        _CAUSES["scattered"],
        asked=units.size(failure.requested_bytes),
        free=units.size(failure.free_bytes),
        unused=units.size(failure.unallocated_bytes),
    )


def describe_failure(failure: AllocationFailure) -> str:
    """One sentence: what was asked for, of which memory, and when."""
    step = "" if failure.step is None else say(" at step {step}", step=failure.step)
    asked = units.size(failure.requested_bytes)
    if failure.memory == "host":
        return say(
            "rank {rank}: {asked} of the machine's memory were not to be had{step}.",
            rank=failure.rank,
            asked=asked,
            step=step,
        )
    number = "" if failure.device_index is None else say(" {number}", number=failure.device_index)
    return say(
        "rank {rank}: {asked} were not to be had on GPU{number}{step}.",
        rank=failure.rank,
        asked=asked,
        number=number,
        step=step,
    )


def failure_details(failure: AllocationFailure) -> Iterator[str]:
    """The figures, the cause and the place."""
    parts = [
        say("{what} {size}", what=what, size=units.size(size))
        for what, size in (
            ("GPU", failure.total_bytes),
            ("free", failure.free_bytes),
            ("this process", failure.process_bytes),
            ("other processes", failure.other_bytes),
            ("tensors", failure.allocated_bytes),
            ("reserved and unused", failure.unallocated_bytes),
        )
        if size is not None
    ]
    if parts:
        yield listed(parts, "; ")
    if failure.memory == "device":
        yield _reason(failure)
    if failure.stage is not None:
        yield say(
            "in {stage}, {phase}", stage=failure.stage, phase=failure.phase or "phase unknown"
        )
    if failure.place is not None:
        yield say("asked for in {place}", place=failure.place)
    if failure.tensors:
        alike = listed(failure.tensors, "; ")
        yield say("as large as, in a training step: {tensors}", tensors=alike)
    if failure.shapes is not None:
        yield say("tensors at hand there: {shapes}", shapes=failure.shapes)
