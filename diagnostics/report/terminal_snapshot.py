"""Snapshots of the allocator, for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.snapshot_memory import DeviceSnapshot, Holder, Peak
from diagnostics.analyses.snapshot_outliving import Outliving
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.kill_words import moment
from diagnostics.report.memory_model import MemoryReport

TOP_PLACES = 8
TOP_REFUSALS = 3


def snapshot_section(report: MemoryReport) -> Iterator[RenderableType]:
    """Each device of each snapshot: held, wasted, the peak, and what outlived its step."""
    for view in report.run.snapshots:
        for device, outliving in zip(view.devices, view.outliving, strict=True):
            yield heading(
                say(
                    "Memory snapshot {file}, device {device}",
                    file=view.snapshot.path.name,
                    device=device.device,
                )
            )
            yield from _totals(device)
            yield from _holders("held by stage", device.stages, device.held_bytes)
            yield from _holders("held by line of code", device.places, device.held_bytes)
            if device.peak is not None:
                yield from _peak(device.peak)
            yield from _outliving(outliving)


def _totals(device: DeviceSnapshot) -> Iterator[RenderableType]:
    waste = device.waste
    yield indented(
        say(
            "{held} held by tensors of {reserved} reserved in {segments} segments; {rounding} of "
            "it is rounding of blocks.",
            held=units.size(device.held_bytes),
            reserved=units.size(device.reserved_bytes),
            segments=waste.num_segments,
            rounding=units.size(waste.rounding_bytes),
        )
    )
    yield indented(
        say(
            "{free} reserved and free in {pieces} pieces, the largest {largest}: {returnable} in "
            "empty segments, which can be given back, {stuck} between tensors, which cannot.",
            free=units.size(waste.free_bytes),
            pieces=waste.num_pieces,
            largest=units.size(waste.largest_bytes),
            returnable=units.size(waste.returnable_bytes),
            stuck=units.size(waste.stuck_bytes),
        )
    )
    for refusal in device.refusals[:TOP_REFUSALS]:
        yield indented(
            say(
                "memory ran out: {asked} asked for, {free} free on the device, by {place}",
                asked=units.size(refusal.requested_bytes),
                free=units.size(refusal.free_bytes),
                place=refusal.place,
            ),
            style="yellow",
        )


def _holders(title: str, holders: Sequence[Holder], total: int) -> Iterator[RenderableType]:
    if not holders:
        return
    rows = make_table(say("{title} ", title=title), "size", "share", "blocks")
    for holder in holders[:TOP_PLACES]:
        share = holder.size_bytes / total if total else None
        add_row(
            rows,
            holder.name,
            units.size(holder.size_bytes),
            units.share(share),
            str(holder.count),
        )
    yield Padding(rows, (0, 0, 0, 2))


def _peak(peak: Peak) -> Iterator[RenderableType]:
    at = "" if peak.at_unix_s is None else say(" at {moment}", moment=moment(peak.at_unix_s))
    yield indented(
        say(
            "peak of the history: {size}{at}; {before} of it was there before the history began",
            size=units.size(peak.size_bytes),
            at=at,
            before=units.size(peak.before_bytes),
        )
    )
    yield from _holders("at the peak, by stage", peak.stages, peak.size_bytes)
    yield from _holders("at the peak, by line of code", peak.places, peak.size_bytes)


def _outliving(found: Outliving) -> Iterator[RenderableType]:
    if found.reason is not None:
        yield indented(say("what outlives a step is not known: {reason}", reason=found.reason))
        return
    if not found.remnants:
        yield indented(say("nothing outlived its step in {steps} steps", steps=found.num_steps))
        return
    rows = make_table("outlived its step ", "size", "blocks", "steps", "per step")
    for each in found.remnants[:TOP_PLACES]:
        add_row(
            rows,
            each.place,
            units.size(each.size_bytes),
            str(each.count),
            say("{seen} of {steps}", seen=each.num_steps, steps=found.num_steps),
            units.size(each.per_step_bytes) if each.is_adding_up else units.UNKNOWN,
        )
    yield Padding(rows, (0, 0, 0, 2))
