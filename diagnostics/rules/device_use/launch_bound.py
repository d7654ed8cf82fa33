"""GP204: the device is idle while the program runs operators."""

from typing import ClassVar

from diagnostics.rules.finding import DEVICE_MEMORY, Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, advise, most_idle_in

CAUSE = "launching"
FEWER = (
    "Launch less: `torch.compile`, CUDA graphs for steps of constant shape, fused operators and "
    "a fused optimizer."
)
LARGER = (
    "Give each launch more to do: a larger batch, as far as device memory allows, with the "
    "learning rate that belongs to it."
)
SIGN = "less idle time while operators run"


class LaunchBound(TraceRule):
    """Idle time during which the launching thread was in operators and runtime calls."""

    code = "GP204"
    name = "launch-bound"
    explains = ("KN202", "GP201", "GP001")
    summary = (
        "The device waits for launches {idle_ms:.1f} of {step_ms:.1f} ms of each step "
        "({share:.1%}): {kernels:.0f} kernels, half of them shorter than {median_us:.0f} us."
    )
    docs = """
## What it measures
Idle time of the device during which the thread that launches its work was running operators and
runtime calls: it worked, but too slowly to keep the device busy.

## Why it matters
Launching an operator from Python takes some 10 to 50 us. A kernel that ends sooner leaves its
device idle until the next one is launched; a faster GPU changes nothing then.

## What to try
Fewer launches for the same work, or more work for each launch.

## False alarms
The profiler itself slows operators down, most of all with shapes and stacks: without it the
share is smaller. Compare the step under the profiler with an ordinary one before acting.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the idle time of launching against the step."""
        if not trace.idle_ms or trace.kernels is None:
            return self.not_evaluated(NOT_IN_TRACE)
        idle_ms = trace.idle_ms.get(CAUSE, 0.0)
        values = {
            "idle_ms": idle_ms,
            "kernels": trace.kernels,
            "median_us": trace.median_kernel_us,
        }
        return self.judge_time(
            trace,
            idle_ms,
            "idle while operators run / step",
            values,
            [("kernels", trace.kernels, "count", None), most_idle_in(trace, CAUSE)],
            [advise(FEWER, SIGN, idle_ms), Advice(text=LARGER, towards=(DEVICE_MEMORY, "more"))],
        )
