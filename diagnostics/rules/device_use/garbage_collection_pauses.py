"""GP206: the device is idle while Python collects garbage."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, advise, most_idle_in

CAUSE = "garbage_collection"
FREEZE = (
    "Call `gc.freeze()` after the set-up, and collect at a chosen place, such as every 1000 steps "
    "(`gc.disable()`, `gc.collect()`); look for what makes objects by the thousand in each step."
)
SIGN = "no idle time while garbage is collected"


class GarbageCollectionPauses(TraceRule):
    """Idle time during which the launching thread collected garbage."""

    code = "GP206"
    name = "garbage-collection-pauses"
    explains = ("GP201", "GP001")
    summary = (
        "Python collects garbage while the device is idle: {idle_ms:.1f} of {step_ms:.1f} ms of "
        "each step ({share:.1%})."
    )
    docs = """
## What it measures
Idle time of the device during which the launching thread was in Python's garbage collector, where
the trace shows it (it takes stacks).

## Why it matters
A collection of the oldest generation visits every object of the program: tens of milliseconds in a
large one. With several ranks each of them pauses at another time, and all wait for each.

## What to try
`gc.freeze()` after the set-up; collections at chosen steps.

## False alarms
A single collection in a trace of few steps weighs more than in the run.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the idle time of collections against the step."""
        if not trace.has_stacks and CAUSE not in trace.idle_ms:
            return self.not_evaluated(NOT_IN_TRACE)
        idle_ms = trace.idle_ms.get(CAUSE, 0.0)
        return self.judge_time(
            trace,
            idle_ms,
            "idle while garbage is collected / step",
            {"idle_ms": idle_ms},
            [most_idle_in(trace, CAUSE)],
            [advise(FREEZE, SIGN, idle_ms)],
        )
