"""GP201: a trace shows a device that mostly waits."""

from typing import ClassVar

from diagnostics.rules.device_use.idle_cause_advice import (
    IDLE_METRICS,
    causes_of_idleness,
    idle_advice,
)
from diagnostics.rules.finding import Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, evidence_of


class DeviceOftenIdle(TraceRule):
    """Idle time of the device within the steps."""

    code = "GP201"
    name = "device-often-idle"
    explains = ("GP001", "CF001")
    summary = (
        "The device runs a kernel {busy:.1%} of the time and is idle {idle_ms:.1f} of "
        "{step_ms:.1f} ms of each step."
    )
    docs = """
## What it measures
The share of the steps in which any kernel runs, and the time in which neither kernel nor copy
does. A step lasts until the work that it launched has ended.

## Why it matters
Idle time is lost. It is a symptom: the table of idle causes says what the launching thread did
meanwhile, and rules about those causes come with advice.

## What to try
What the cause asks for. A larger batch helps only where the device is idle because its kernels are
too short to keep up with their launches.

## False alarms
The profiler slows the program down, so short steps look emptier than they are without it.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Compare the busy share with the limits."""
        busy, idle = trace.busy_share, trace.idle_share
        if busy is None or idle is None:
            return self.not_evaluated(NOT_IN_TRACE)
        if busy >= self.at_warn.value:
            return None
        severity = Severity.CRITICAL if busy < self.at_critical.value else Severity.WARN
        idle_ms = idle * trace.step_ms
        causes = causes_of_idleness(trace)
        return self.finding(
            severity,
            {"busy": busy, "idle_ms": idle_ms, "step_ms": trace.step_ms},
            evidence_of(
                trace,
                ("time with a kernel / step", busy, "share", self.at_warn.value),
                ("idle", idle_ms, "ms", None),
                *((IDLE_METRICS[cause], ms, "ms", None) for cause, ms in causes[:3]),
            ),
            (idle_advice(trace, idle_ms),),
            cost_ms_per_step=idle_ms,
        )
