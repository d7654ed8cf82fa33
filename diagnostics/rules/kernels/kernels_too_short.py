"""KN202: most kernels are over before the device can begin the next."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import TraceRule, advise

FUSE = (
    "Fuse chains of small operators (`torch.compile`, foreach and fused optimizers), or replay "
    "them as a CUDA graph: the device then begins one kernel right after the other."
)
SIGN = "fewer and longer kernels"


class KernelsTooShort(TraceRule):
    """Time that the device spends between kernels which were launched in time."""

    code = "KN202"
    name = "kernels-too-short"
    summary = (
        "{short:.0%} of {kernels:.0f} kernels in each step are shorter than 10 us, and the device "
        "spends {gap_ms:.1f} of {step_ms:.1f} ms ({share:.1%}) between kernels that were ready."
    )
    docs = """
## What it measures
Kernels below 10 us as a share of all, and the gaps below 30 us between two kernels of which the
second was launched before the first ended.

## Why it matters
The device needs a microsecond or two from one kernel to the next. With thousands of short ones
these gaps add up, however fast the program launches.

## What to try
Fused operators, a compiled model, CUDA graphs.

## False alarms
A small model on a large GPU has short kernels by nature. Where the device waits for data, kernels
may be short only because batches are small.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    most_short: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the gaps against the step, where most kernels are short."""
        short, gap_ms, kernels = trace.short_kernel_share, trace.queued_gap_ms, trace.kernels
        if short is not None and short < self.most_short.value:
            return None
        return self.judge_time(
            trace,
            None if short is None or kernels is None else gap_ms,
            "gaps between ready kernels / step",
            {"short": short, "kernels": kernels, "gap_ms": gap_ms},
            [
                ("kernels below 10 us", short, "share", self.most_short.value),
                ("kernels", kernels, "count", None),
            ],
            [advise(FUSE, SIGN, gap_ms)],
        )
