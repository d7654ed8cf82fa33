"""GP202: the program waits for the device within the step, and the device then waits for it."""

from dataclasses import replace
from typing import ClassVar

from diagnostics.rules.finding import Finding, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import TraceRule, advise

LATER = (
    "Read results on the host less often, or a step late: keep the loss as a tensor and call "
    "`.item()` every so many steps, copy with `non_blocking=True`, replace `nonzero` and boolean "
    "indices by `torch.where`, leave `torch.cuda.synchronize()` to measurements."
)
SIGN = "less idle time behind synchronisation"


class SynchronisationInStep(TraceRule):
    """Idle time that begins while the program waits for the device."""

    code = "GP202"
    name = "synchronisation-in-step"
    explains = ("GP204", "GP205", "GP207", "GP201", "GP001")
    summary = (
        "The program waits for the device in {calls:.1f} calls of each step, and the device then "
        "runs dry: up to {idle_ms:.1f} of {step_ms:.1f} ms ({share:.1%})."
    )
    docs = """
## What it measures
Gaps of the device that begin while the program is in a call that waits for it (`.item()`, `.cpu()`,
`nonzero`, `cudaStreamSynchronize` and the like), until the device gets its next work. What a
loader takes of such a gap is left out. Calls during which the device stays busy cost nothing and
count nothing.

## Why it matters
A program that runs ahead of its device keeps a queue of launched kernels. Each wait empties the
queue, and the device is idle until the program has filled it again.

## What to try
Fewer waits, or later ones: the report names the operator and, where the trace has stacks, the line.

## False alarms
It is the most that the waits can cost. A program that is slower than its device even without them
wins less.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]
    least_ms: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the idle time behind waits against the step."""
        idle_ms, calls = trace.sync_idle_ms, trace.sync_calls
        found = self.judge_time(
            trace,
            None if calls is None else idle_ms,
            "idle behind synchronisation / step",
            {"calls": calls, "idle_ms": idle_ms},
            [
                ("synchronising calls", calls, "count", None),
                ("behind the longest gap", trace.sync_name, "", None),
                ("called at", trace.sync_where, "", None),
            ],
            [advise(LATER, SIGN, idle_ms)],
        )
        if isinstance(found, Finding) and (idle_ms or 0.0) < self.least_ms.value:
            return replace(found, severity=Severity.NOTE)
        return found
