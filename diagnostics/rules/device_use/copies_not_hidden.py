"""GP209: the device waits while batches are copied to it."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import TraceRule, advise

PREFETCH = (
    "Copy the next batch while this one is computed: `.to(device, non_blocking=True)` on a stream "
    "of its own, one batch ahead; or hand over smaller types, such as uint8, and convert them on "
    "the device."
)
SIGN = "copies to the device hidden behind kernels"


class CopiesNotHidden(TraceRule):
    """Copies to the device beside which no kernel runs."""

    code = "GP209"
    name = "copies-not-hidden"
    explains = ("GP201", "GP001")
    summary = (
        "Copies to the device take {exposed_ms:.1f} of {step_ms:.1f} ms of each step ({share:.1%}) "
        "in which no kernel runs."
    )
    docs = """
## What it measures
The time of copies from the host to the device during which the device computes nothing.

## Why it matters
A device can copy and compute at once. A batch that is copied before its step begins costs its
whole copy; one that is copied during the step before costs nothing.

## What to try
Pinned memory and `non_blocking=True`, a stream for copies, one batch ahead. Smaller types on the
way: what is uint8 in the file need not travel as float32.

## False alarms
A first copy of weights or a one-off evaluation belongs to no step; a trace of very few steps may
hold one.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the exposed copies against the step."""
        exposed_ms = trace.to_device_exposed_ms
        return self.judge_time(
            trace,
            exposed_ms,
            "exposed copies to the device / step",
            {"exposed_ms": exposed_ms},
            [
                ("all copies to the device", trace.to_device_ms, "ms", None),
                ("bytes copied to the device", trace.to_device_bytes, "bytes/step", None),
            ],
            [advise(PREFETCH, SIGN, exposed_ms)],
        )
