"""GP205: the device is idle while the program runs Python that launches nothing."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, advise, most_idle_in

CAUSE = "python"
MOVE = (
    "Take that work out of the step: into the loader's processes, behind the launches of the "
    "backward, or into every n-th step (logging, metrics, pictures)."
)
STACKS = "Record the trace with stacks (`with_stack=True`): the report then names file and line."
SIGN = "less idle time while Python runs"


class PythonBetweenLaunches(TraceRule):
    """Idle time during which the launching thread was in Python, outside of operators."""

    code = "GP205"
    name = "python-between-launches"
    explains = ("GP201", "GP001")
    summary = (
        "The device waits for Python {idle_ms:.1f} of {step_ms:.1f} ms of each step ({share:.1%}), "
        "outside of operators and runtime calls."
    )
    docs = """
## What it measures
Idle time of the device during which the thread that launches its work was in none of PyTorch's
operators, runtime calls, loaders or waits: its own Python.

## Why it matters
Loops over samples, metrics on the host, logging and preparation of batches in the training loop
run while the device has nothing to do.

## What to try
Move that work out of the step. With stacks in the trace the report names the line.

## False alarms
Code that releases the interpreter to other threads looks the same. Without stacks the trace cannot
tell Python from a library that is not PyTorch.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the idle time of Python against the step."""
        if not trace.idle_ms:
            return self.not_evaluated(NOT_IN_TRACE)
        idle_ms = trace.idle_ms.get(CAUSE, 0.0)
        return self.judge_time(
            trace,
            idle_ms,
            "idle while Python runs / step",
            {"idle_ms": idle_ms},
            [most_idle_in(trace, CAUSE)],
            [advise(MOVE if trace.has_stacks else STACKS, SIGN, idle_ms)],
        )
