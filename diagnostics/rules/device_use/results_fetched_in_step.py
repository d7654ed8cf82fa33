"""GP207: many small results travel from the device to the host in each step."""

from typing import ClassVar

from diagnostics.rules.finding import Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, TraceRule, advise, evidence_of

TOGETHER = (
    "Fetch results together and seldom: stack them into one tensor on the device, and copy it "
    "every so many steps."
)
SIGN = "fewer copies from the device to the host"


class ResultsFetchedInStep(TraceRule):
    """Copies from the device to the host within the step."""

    code = "GP207"
    name = "results-fetched-in-step"
    summary = (
        "Each step copies {copies:.1f} times from the device to the host, {copy_ms:.2f} ms in all."
    )
    docs = """
## What it measures
Copies from the device to the host that begin in the steps: how many for each step, and how long
they take.

## Why it matters
Nearly every such copy makes the program wait for the device. What that costs depends on whether
the device runs dry meanwhile, which rule GP202 measures; many of them are a habit worth breaking
even where it does not show yet.

## What to try
One copy instead of many, and not in every step.

## False alarms
Copies to pinned memory with `non_blocking=True` do not wait. Offloading of activations or of an
optimizer copies by design.
"""
    at_note: ClassVar[Threshold]
    at_warn_share: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Count the copies, and hold their time against the step."""
        copies, copy_ms = trace.to_host_copies, trace.to_host_ms
        share = trace.share(copy_ms)
        if copies is None or copy_ms is None or share is None:
            return self.not_evaluated(NOT_IN_TRACE)
        is_long = share >= self.at_warn_share.value
        if copies < self.at_note.value and not is_long:
            return None
        return self.finding(
            Severity.WARN if is_long else Severity.NOTE,
            {"copies": copies, "copy_ms": copy_ms},
            evidence_of(
                trace,
                ("copies from the device", copies, "count", self.at_note.value),
                ("copies from the device / step", share, "share", self.at_warn_share.value),
            ),
            (advise(TOGETHER, SIGN, copy_ms),),
            cost_ms_per_step=copy_ms,
        )
