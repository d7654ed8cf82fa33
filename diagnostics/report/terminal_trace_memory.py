"""The memory of the devices of a trace, for a terminal: a line for each."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_memory import TraceMemory
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import indented


def trace_memory_lines(found: TraceAnalysis) -> Iterator[RenderableType]:
    """Nothing where the trace does not tell it; nothing of the CPU."""
    for each in found.memory:
        if each.is_device and each.peak_bytes is not None:
            yield indented(_line(each))


def _line(memory: TraceMemory) -> str:
    values = {
        "device": memory.device_id,
        "reserved": units.size(memory.peak_reserved_bytes),
        "allocated": units.size(memory.peak_allocated_bytes),
    }
    if memory.share is None:
        return say(
            "Memory of device {device}: PyTorch reserved up to {reserved}, tensors held up to "
            "{allocated}; what share of the device that is, the trace does not say.",
            **values,
        )
    return say(
        "Memory of device {device}: PyTorch reserved up to {reserved}, tensors held up to "
        "{allocated}; {share} of {total}.",
        share=units.share(memory.share),
        total=units.size(memory.total_bytes),
        **values,
    )
