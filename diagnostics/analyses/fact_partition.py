"""Where the step went by a run's own facts: what a trace would say, as far as facts can tell.

The recorder's phases are a partition of the step. Of a device's idle time it knows one cause: the
events around the fetch of a batch show how long the device had nothing to do but wait for it.
"""

from dataclasses import dataclass

from diagnostics.analyses.step_breakdown import StepBreakdown
from diagnostics.analyses.trace_idle import Cause


@dataclass(frozen=True, kw_only=True)
class FactPart:
    """A phase of the step, by the clock to judge by; `share` is of all phases together."""

    name: str
    ms_per_step: float
    share: float


@dataclass(frozen=True, kw_only=True)
class FactIdle:
    """A cause of idle time of the device; `share` is of the step by the device's clock."""

    cause: Cause
    ms_per_step: float
    share: float


@dataclass(frozen=True, kw_only=True)
class FactPartition:
    """The partition sums to 1; both are empty where the facts do not tell."""

    parts: tuple[FactPart, ...] = ()
    idle_causes: tuple[FactIdle, ...] = ()


def partition_facts(breakdown: StepBreakdown) -> FactPartition:
    """The phases as a partition, and the idle time that they show."""
    phases = [each for each in breakdown.phases if each.clock == breakdown.clock]
    whole = sum(each.mean_ms for each in phases)
    parts = tuple(
        FactPart(name=each.name, ms_per_step=each.mean_ms, share=each.mean_ms / whole)
        for each in phases
        if whole > 0
    )
    return FactPartition(parts=parts, idle_causes=_idle(breakdown))


def _idle(breakdown: StepBreakdown) -> tuple[FactIdle, ...]:
    data = breakdown.data_against_compute
    if data is None or data.clock != "device" or not data.data_wait_exposed_ms:
        return ()
    share = data.data_wait_exposed_share or 0.0
    return (FactIdle(cause="data_loading", ms_per_step=data.data_wait_exposed_ms, share=share),)
