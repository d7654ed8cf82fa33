"""GP201: a trace shows a device that mostly waits."""

from typing import ClassVar

from diagnostics.rules.finding import Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, advise, evidence_of

LOOK_AT_CAUSES = (
    "Begin with the first line of the report's table of idle causes: it names what the program did "
    "while the device had nothing to do."
)
IDLE_METRICS = {
    "data_loading": "idle while the program waits for data",
    "synchronisation": "idle while the program waits for the device",
    "copy": "idle while the program copies",
    "allocator": "idle while the program asks for memory",
    "garbage_collection": "idle while Python collects garbage",
    "profiler": "idle because of the profiler",
    "launching": "idle while the program runs operators",
    "python": "idle while the program runs Python",
    "queued": "idle between kernels that were ready",
    "unattributed": "idle, and the trace does not say why",
}
SIGN = "the device is idle for less of the step"


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
        known = [(cause, ms) for cause, ms in trace.idle_ms.items() if cause in IDLE_METRICS]
        causes = sorted(known, key=lambda each: -each[1])
        return self.finding(
            severity,
            {"busy": busy, "idle_ms": idle_ms, "step_ms": trace.step_ms},
            evidence_of(
                trace,
                ("time with a kernel / step", busy, "share", self.at_warn.value),
                ("idle", idle_ms, "ms", None),
                *((IDLE_METRICS[cause], ms, "ms", None) for cause, ms in causes[:3]),
            ),
            (advise(LOOK_AT_CAUSES, SIGN, idle_ms),),
            cost_ms_per_step=idle_ms,
        )
