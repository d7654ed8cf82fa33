"""From the analyses of traces to the flat record that rules on traces look at."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from diagnostics.analyses.step_habits import StepHabits
from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_breakdown import TraceBreakdown
from diagnostics.language import say
from diagnostics.rules.trace_measurements import TraceMeasurements

_SEVERAL = "{count} trace(s)"


def measure_traces(traces: Sequence[TraceAnalysis]) -> TraceMeasurements | None:
    """Means over the traces that show a step; None if none does."""
    shown = [each for each in traces if each.breakdown is not None and each.num_steps]
    if not shown:
        return None
    step_ms = _mean(_step_ms(each) for each in shown)
    busy = _mean_share(shown, lambda each: each.gpu_busy_share)
    filled = _mean(each.kernels.sm_efficiency if each.kernels else None for each in shown)
    return TraceMeasurements(
        source=shown[0].file if len(shown) == 1 else say(_SEVERAL, count=len(shown)),
        num_steps=sum(each.num_steps for each in shown),
        step_ms=step_ms or 0.0,
        has_device=any(each.has_device for each in shown),
        has_stacks=all(each.has_stacks for each in shown),
        loads_in_process=_all_known([each.loads_in_process for each in shown]),
        data_exposed_ms=_of_step(shown, lambda each: each.data_loader_exposed_share),
        busy_share=busy,
        idle_share=_mean_share(shown, lambda each: each.idle_share),
        idle_ms=_idle_ms(shown),
        idle_where=_idle_where(shown),
        communication_ms=_of_step(shown, _communication),
        communication_exposed_ms=_of_step(shown, _exposed_communication),
        kernel_ms=_mean(
            each.kernels.ns / 1e6 / each.num_steps if each.kernels else None for each in shown
        ),
        tensor_core_share=_mean(
            each.kernels.tensor_core_share if each.kernels else None for each in shown
        ),
        filled_share=min(1.0, filled / busy) if filled is not None and busy else None,
        eligible_ms=_mean(_unused_ms(each) for each in shown),
        collective=_longest_collective(shown),
        **_copies(shown),
        **_habits([each.habits for each in shown if each.habits is not None]),
    )


def _habits(found: Sequence[StepHabits]) -> dict[str, Any]:
    """The fields that are read from habits; means, and the words of the first that has some."""
    if not found:
        return {}

    def mean(read: Callable[[StepHabits], float | None]) -> float | None:
        return _mean(read(each) for each in found)

    waits = [each.synchronisations for each in found]
    allocations = [each.allocations for each in found]
    return {
        "sync_calls": mean(lambda each: each.synchronisations.per_step),
        "sync_idle_ms": mean(lambda each: each.synchronisations.idle_ms),
        "sync_name": _first(each.name for each in waits),
        "sync_where": _first(each.where for each in waits),
        "allocator_calls": mean(lambda each: each.allocations.per_step),
        "allocator_idle_ms": mean(lambda each: each.allocations.idle_ms),
        "allocator_name": _first(each.name for each in allocations),
        "kernels": mean(lambda each: each.kernels),
        "short_kernel_share": mean(lambda each: each.short_kernel_share),
        "median_kernel_us": mean(lambda each: each.median_kernel_us),
        "queued_gap_ms": mean(lambda each: each.queued_gap_ms),
        "copying_ms": mean(lambda each: each.copying_ms),
        "copying_kernels": mean(lambda each: each.copying_kernels),
        "backend": next((each.backend for each in found if each.backend), None),
        "num_devices": max((each.num_devices or 0 for each in found), default=0) or None,
        "is_data_parallel": any(each.is_data_parallel for each in found),
        **_sections(found),
    }


def _sections(found: Sequence[StepHabits]) -> dict[str, float | None]:
    optimizers = [each.optimizer for each in found if each.optimizer is not None]
    clearings = [each.zero_grad for each in found if each.zero_grad is not None]
    return {
        "optimizer_launches": _mean(each.launches for each in optimizers),
        "optimizer_idle_ms": _mean(each.idle_ms for each in optimizers),
        "optimizer_fused_share": _mean(each.fused_share for each in optimizers),
        "zero_grad_launches": _mean(each.launches for each in clearings),
        "zero_grad_ms": _mean(each.idle_ms + each.device_ms for each in clearings),
    }


def _communication(found: TraceBreakdown) -> float | None:
    return _on_host(found) if found.idle_share is None else found.communication_share


def _exposed_communication(found: TraceBreakdown) -> float | None:
    return _on_host(found) if found.idle_share is None else found.communication_exposed_share


def _on_host(found: TraceBreakdown) -> float | None:
    """Without a device: what the program's own calls of a backend take."""
    return next((part.share for part in found.partition if part.name == "communication"), None)


def _unused_ms(found: TraceAnalysis) -> float | None:
    use = found.kernels
    if use is None or use.unused_share is None:
        return None
    return use.unused_share * use.ns / 1e6 / found.num_steps


def _longest_collective(traces: Sequence[TraceAnalysis]) -> str:
    used = [use for each in traces for use in each.collectives]
    longest = max(used, key=lambda use: use.ns, default=None)
    return "" if longest is None else longest.collective


def _copies(traces: Sequence[TraceAnalysis]) -> dict[str, Any]:
    """Copies to and from the device; 0 where a trace with a device shows none."""
    steps = sum(each.num_steps for each in traces)
    if not any(each.has_device for each in traces):
        return {}
    used = [use for each in traces for use in each.copies]
    to_device = [use for use in used if use.direction == "to_device"]
    to_host = [use for use in used if use.direction == "from_device"]
    told = [use for use in to_device if use.memory is not None and use.num_bytes]
    num_bytes = sum(use.num_bytes or 0.0 for use in told)
    pageable = sum(use.num_bytes or 0.0 for use in told if use.memory == "pageable")
    return {
        "to_device_ms": sum(use.ns for use in to_device) / 1e6 / steps,
        "to_device_exposed_ms": sum(use.exposed_ns for use in to_device) / 1e6 / steps,
        "to_device_bytes": sum(use.num_bytes or 0.0 for use in to_device) / steps,
        "pageable_share": pageable / num_bytes if num_bytes else None,
        "to_host_copies": sum(use.count for use in to_host) / steps,
        "to_host_ms": sum(use.ns for use in to_host) / 1e6 / steps,
    }


def _step_ms(found: TraceAnalysis) -> float | None:
    return found.breakdown.window_ns / 1e6 / found.num_steps if found.breakdown else None


def _of_step(
    traces: Sequence[TraceAnalysis], read: Callable[[TraceBreakdown], float | None]
) -> float | None:
    """A share of the window as ms of a step, mean over the traces."""
    return _mean(_scaled(each, read) for each in traces)


def _scaled(found: TraceAnalysis, read: Callable[[TraceBreakdown], float | None]) -> float | None:
    share = read(found.breakdown) if found.breakdown else None
    step_ms = _step_ms(found)
    return None if share is None or step_ms is None else share * step_ms


def _mean_share(
    traces: Sequence[TraceAnalysis], read: Callable[[TraceBreakdown], float | None]
) -> float | None:
    return _mean(read(each.breakdown) for each in traces if each.breakdown is not None)


def _idle_ms(traces: Sequence[TraceAnalysis]) -> dict[str, float]:
    spent: dict[str, float] = {}
    for each in traces:
        for idle in each.idle_causes:
            ms = idle.ns / 1e6 / each.num_steps / len(traces)
            spent[idle.cause] = spent.get(idle.cause, 0.0) + ms
    return spent


def _idle_where(traces: Sequence[TraceAnalysis]) -> dict[str, str]:
    """The place of the trace that lost most to the cause."""
    found = [idle for each in traces for idle in each.idle_causes if idle.places]
    ordered = sorted(found, key=lambda each: each.ns)
    return {idle.cause: idle.where or idle.places[0].where for idle in ordered}


def _all_known(values: Sequence[bool | None]) -> bool | None:
    known = [value for value in values if value is not None]
    return all(known) if known else None


def _first(values: Iterable[str | None]) -> str:
    return next((value for value in values if value), "")


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
