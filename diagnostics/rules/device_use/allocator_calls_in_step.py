"""GP203: device memory is asked for, or given back, within the step."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, advise, evidence_of

KEEP = (
    "Let the allocator keep its memory: take `torch.cuda.empty_cache()` out of the loop, keep "
    "shapes constant, and set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True where they vary."
)
SIGN = "no cudaMalloc or cudaFree in the steps"


class AllocatorCallsInStep(TraceRule):
    """cudaMalloc and cudaFree in steps that should reuse what they have."""

    code = "GP203"
    name = "allocator-calls-in-step"
    explains = ("GP201", "GP001")
    summary = (
        "Each step asks the driver for memory, or gives it back, {calls:.1f} times: up to "
        "{idle_ms:.1f} of {step_ms:.1f} ms ({share:.1%}) in which the device is idle."
    )
    docs = """
## What it measures
Calls of cudaMalloc, cudaFree and their kin within the steps, and the idle time of the device during
and behind them.

## Why it matters
PyTorch keeps device memory and reuses it; after the first steps no call should be left. cudaFree
waits until the device has finished, and both take up to milliseconds.

## What to try
Constant shapes; no `empty_cache()` in the loop; room on the device, since an allocator that is
short of memory gives back and asks again in every step.

## False alarms
The first steps of a run fill the allocator. A trace that begins with them shows calls that later
steps do not make.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    least_calls: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the idle time behind the calls against the step."""
        idle_ms, calls = trace.allocator_idle_ms, trace.allocator_calls
        share = trace.share(idle_ms)
        if idle_ms is None or calls is None or share is None:
            return self.not_evaluated(NOT_IN_TRACE)
        severity = self.grade(share)
        if severity is None or calls < self.least_calls.value:
            return None
        return self.finding(
            severity,
            {"calls": calls, "idle_ms": idle_ms, "step_ms": trace.step_ms, "share": share},
            evidence_of(
                trace,
                ("idle behind the allocator / step", share, "share", self.at_note.value),
                ("calls of the driver's allocator", calls, "count", self.least_calls.value),
                ("behind the longest gap", trace.allocator_name, "", None),
            ),
            (advise(KEEP, SIGN, idle_ms),),
            cost_ms_per_step=idle_ms,
        )
