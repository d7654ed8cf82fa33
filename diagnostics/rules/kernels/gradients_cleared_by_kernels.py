"""KN205: gradients are set to zero one by one."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import TraceRule, advise

TO_NONE = "Call `optimizer.zero_grad(set_to_none=True)`, the default since PyTorch 2.0."
SIGN = "no kernels in Optimizer.zero_grad"


class GradientsClearedByKernels(TraceRule):
    """Kernels and memsets launched to clear gradients."""

    code = "KN205"
    name = "gradients-cleared-by-kernels"
    explains = ("GP204",)
    summary = (
        "Clearing the gradients launches {launches:.0f} kernels or memsets in each step: "
        "{cost_ms:.2f} of {step_ms:.1f} ms ({share:.1%})."
    )
    docs = """
## What it measures
Kernels and memsets launched within `Optimizer.zero_grad#...`, how long they run, and how long the
device is idle around them.

## Why it matters
Gradients that are dropped cost nothing, and the backward writes the next ones instead of adding to
zeros.

## What to try
`zero_grad(set_to_none=True)`, the default of PyTorch 2.

## False alarms
Code that reads `.grad` after it was cleared needs zeros there.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the clearing against the step."""
        launches, cost_ms = trace.zero_grad_launches, trace.zero_grad_ms
        if launches is not None and launches < 1.0:
            return None
        return self.judge_time(
            trace,
            None if launches is None else cost_ms,
            "clearing gradients / step",
            {"launches": launches, "cost_ms": cost_ms},
            [("its kernels and memsets", launches, "count", None)],
            [advise(TO_NONE, SIGN, cost_ms)],
        )
