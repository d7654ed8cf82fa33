"""KN206: kernels fill a part of the device's multiprocessors."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import DEVICE_MEMORY, Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, VERIFY, TraceRule, evidence_of

LARGER = (
    "Give each kernel more to do: a larger batch or crop, as far as device memory allows, or run "
    "independent parts on streams of their own."
)
SIGN = "a higher estimated SM efficiency"


class MultiprocessorsPartFilled(TraceRule):
    """Blocks of kernels against the multiprocessors that there are."""

    code = "KN206"
    name = "multiprocessors-part-filled"
    summary = (
        "While a kernel runs, {filled:.0%} of the device's multiprocessors have work: its kernels "
        "are too small for it."
    )
    docs = """
## What it measures
The estimated share of multiprocessors with a block, while any kernel runs: the trace gives each
kernel's blocks for each multiprocessor.

## Why it matters
A device whose kernels occupy half of it takes twice as long for them, though its utilisation says
100 %.

## What to try
Larger batches or crops; independent work on several streams.

## False alarms
It is an estimate from the size of the grid. A kernel whose blocks differ in length leaves
multiprocessors empty that this figure counts as filled. A small model on a large GPU stays small.
"""
    at_note: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Compare the filled share with the limit."""
        filled = trace.filled_share
        if filled is None:
            return self.not_evaluated(NOT_IN_TRACE)
        if filled >= self.at_note.value:
            return None
        return self.finding(
            Severity.NOTE,
            {"filled": filled},
            evidence_of(
                trace,
                ("multiprocessors with work", filled, "share", self.at_note.value),
            ),
            (_larger(),),
        )


def _larger() -> Advice:
    return Advice(text=LARGER, towards=(DEVICE_MEMORY, "more"), verify=say(VERIFY, sign=SIGN))
