"""What a trace could not be asked, and why; "not evaluated" is a result, too."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from diagnostics.analyses.trace_memory import CPU_TYPE
from diagnostics.analyses.trace_recompute import Recomputation
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import Trace

Question = Literal[
    "per_step", "device", "source_lines", "recomputation", "stream_waits", "device_memory"
]
Reason = Literal[
    "no_step", "no_event", "no_device", "no_stacks", "no_backward", "no_sequence_numbers",
    "second_derivative", "no_sync_events", "no_memory_events",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Absence:
    """A question without an answer, and why there is none.

    `per_step`: figures of a step; then all figures are of the whole trace. `device`: everything
    about a device. `source_lines`: where idle time was spent, by file and line. `recomputation`:
    what the backward computes again. `stream_waits`: what streams wait for, which is guessed.
    `device_memory`: how full the device was.
    """

    question: Question
    reason: Reason


def find_absences(
    trace: Trace, steps: TraceSteps, recomputation: Recomputation
) -> tuple[Absence, ...]:
    """What cannot be said of this trace."""
    return tuple(_absences(trace, steps, recomputation))


def _absences(trace: Trace, steps: TraceSteps, recomputation: Recomputation) -> Iterator[Absence]:
    if not len(steps):
        yield Absence(question="per_step", reason="no_event")
    elif not steps.count:
        yield Absence(question="per_step", reason="no_step")
    if not trace.has_device:
        yield Absence(question="device", reason="no_device")
    elif not len(trace.events["sync"]):
        yield Absence(question="stream_waits", reason="no_sync_events")
    if trace.has_device and not any(each.device_type != CPU_TYPE for each in trace.memory):
        yield Absence(question="device_memory", reason="no_memory_events")
    if not trace.has_stacks:
        yield Absence(question="source_lines", reason="no_stacks")
    if recomputation.why_not is not None:
        yield Absence(question="recomputation", reason=recomputation.why_not)
