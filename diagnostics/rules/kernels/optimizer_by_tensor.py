"""KN204: the optimizer updates one tensor after the other."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, advise

FUSED = (
    "Update all tensors with a few kernels: `fused=True` for Adam, AdamW and SGD of a recent "
    "PyTorch, else `foreach=True`."
)
SIGN = "a few kernels in Optimizer.step"


class OptimizerByTensor(TraceRule):
    """Many launches in the optimizer's step, and a device that waits for them."""

    code = "KN204"
    name = "optimizer-by-tensor"
    explains = ("GP204", "KN202")
    summary = (
        "Optimizer.step launches {launches:.0f} kernels, and the device is idle {idle_ms:.1f} of "
        "{step_ms:.1f} ms ({share:.1%}) meanwhile."
    )
    docs = """
## What it measures
Kernels launched within `Optimizer.step#...` for each step, the share of them that work on many
tensors at once, and the time that the device is idle from the begin of the update to the end of
its last kernel.

## Why it matters
A loop over the parameters launches several kernels for each of them, hundreds or thousands in all,
each shorter than its launch.

## What to try
The fused or the foreach form of the same optimizer: the same results up to rounding.

## False alarms
An optimizer of one's own, whose name PyTorch does not announce, is not seen. Where the device still
works off the backward, the launches are hidden and cost nothing: only idle time counts.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    many: ClassVar[Threshold]
    most_fused: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the idle time of the update against the step, where it takes many kernels."""
        launches, idle_ms = trace.optimizer_launches, trace.optimizer_idle_ms
        fused = trace.optimizer_fused_share
        if launches is None or fused is None:
            return self.not_evaluated(NOT_IN_TRACE)
        if launches < self.many.value or fused >= self.most_fused.value:
            return None
        return self.judge_time(
            trace,
            idle_ms,
            "idle in the optimizer / step",
            {"launches": launches, "idle_ms": idle_ms},
            [
                ("kernels of the optimizer", launches, "count", self.many.value),
                ("kernels for many tensors at once", fused, "share", self.most_fused.value),
            ],
            [advise(FUSED, SIGN, idle_ms)],
        )
