"""What a forecast takes for granted, with the figures and where they come from."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.memory_demand import Demand
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import indented

_DATA = (
    "Assumed: the data. {root} is not there, so the published GoPro+Spike stands in: "
    "{train_frames} + {val_frames} frames of {width}x{height} pixels, {spike_bytes} of spikes "
    "each. Other data needs another cache, other loading, and other validation."
)
_SIZES = (
    "Assumed: the sizes of the processes, as they were measured once on another machine (Linux, "
    "PyTorch for the CPU). Not measured here: {reason}."
)


def assumed_lines(demand: Demand) -> Iterator[RenderableType]:
    """One line for the data, one for the processes, where either was not found out here."""
    data = demand.data
    if data.is_assumed:
        yield indented(
            say(
                _DATA,
                root=data.root,
                train_frames=data.train_frames,
                val_frames=data.val_frames,
                width=units.number(data.width, 0),
                height=units.number(data.height, 0),
                spike_bytes=units.size(data.spike_bytes),
            ),
            style="yellow",
        )
    if demand.are_sizes_assumed:
        reason = demand.sizes_assumed_because or "they could not be measured"
        yield indented(
            say(_SIZES, reason=reason),
            style="yellow",
        )


def assumed_in_short(demand: Demand) -> str:
    """The end of a verdict that rests on what nobody measured; empty where all was."""
    if demand.data.is_assumed:
        return say(" Assumed data: {root} is not there.", root=demand.data.root)
    return ""
