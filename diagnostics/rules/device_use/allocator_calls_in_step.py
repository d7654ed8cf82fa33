"""GP203: device memory is asked for, or given back, within the step."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import TraceRule, advise

KEEP = (
    "Let the allocator keep its memory: take `torch.cuda.empty_cache()` out of the loop, keep "
    "shapes constant, and set PYTORCH_ALLOC_CONF=expandable_segments:True where they vary (before "
    "PyTorch 2.9 the name is PYTORCH_CUDA_ALLOC_CONF)."
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
        idle_ms, calls, least = trace.allocator_idle_ms, trace.allocator_calls, self.least_calls
        if calls is not None and calls < least.value:
            return None
        return self.judge_time(
            trace,
            None if calls is None else idle_ms,
            "idle behind the allocator / step",
            {"calls": calls, "idle_ms": idle_ms},
            [
                ("calls of the driver's allocator", calls, "count", least.value),
                ("behind the longest gap", trace.allocator_name, "", None),
            ],
            [advise(KEEP, SIGN, idle_ms)],
        )
