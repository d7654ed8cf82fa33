"""From the memory that traces tell to what the rule about a full device needs of it."""

from collections.abc import Sequence
from typing import Any

from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_memory import fullest_device


def measure_trace_memory(traces: Sequence[TraceAnalysis]) -> dict[str, Any]:
    """The fullest device of all traces; nothing where no trace tells the memory of one."""
    fullest = fullest_device(each for trace in traces for each in trace.memory)
    if fullest is None:
        return {}
    return {
        "traced_reserved_bytes": fullest.peak_reserved_bytes,
        "traced_allocated_bytes": fullest.peak_allocated_bytes,
        "traced_total_bytes": fullest.total_bytes,
        "traced_device": fullest.device_id,
        "traced_file": next(trace.file for trace in traces if fullest in trace.memory),
    }
