"""What the traces of several ranks say together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_breakdown import PARTITION, Part, TraceBreakdown


@dataclass(frozen=True, kw_only=True)
class TraceSummary:
    """All traces that show a step, or all traces whole where none does (`has_steps` is false).

    The shares are of their windows together.
    A share is None where one of the traces does not know it.
    """

    window_ms: float
    has_steps: bool
    has_device: bool
    compute_share: float | None
    communication_share: float | None
    communication_exposed_share: float | None
    copy_exposed_share: float | None
    idle_share: float | None
    gpu_busy_share: float | None
    data_loader_share: float | None
    data_loader_exposed_share: float | None
    partition: tuple[Part, ...]


def summarise_traces(traces: Sequence[TraceAnalysis]) -> TraceSummary | None:
    """The traces together; None if none of them has an event."""
    known = [each.breakdown for each in traces if each.breakdown is not None]
    found = [each for each in known if each.num_steps] or known
    window_ns = sum(each.window_ns for each in found)
    if not window_ns:
        return None

    def share(read: Callable[[TraceBreakdown], float | None]) -> float | None:
        values = [read(each) for each in found]
        if any(value is None for value in values):
            return None
        lengths = [each.window_ns for each in found]
        return sum((v or 0.0) * n for v, n in zip(values, lengths, strict=True)) / window_ns

    return TraceSummary(
        window_ms=window_ns / 1e6,
        has_steps=any(each.num_steps for each in found),
        has_device=any(each.has_device for each in traces),
        compute_share=share(lambda each: each.compute_share),
        communication_share=share(lambda each: each.communication_share),
        communication_exposed_share=share(lambda each: each.communication_exposed_share),
        copy_exposed_share=share(lambda each: each.copy_exposed_share),
        idle_share=share(lambda each: each.idle_share),
        gpu_busy_share=share(lambda each: each.gpu_busy_share),
        data_loader_share=share(lambda each: each.data_loader_share),
        data_loader_exposed_share=share(lambda each: each.data_loader_exposed_share),
        partition=_partition(found, window_ns),
    )


def _partition(found: Sequence[TraceBreakdown], window_ns: int) -> tuple[Part, ...]:
    spent = dict.fromkeys(PARTITION, 0)
    for each in found:
        for part in each.partition:
            spent[part.name] += part.ns
    return tuple(Part(name=name, ns=ns, share=ns / window_ns) for name, ns in spent.items())
