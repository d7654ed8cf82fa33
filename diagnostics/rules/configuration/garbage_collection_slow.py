"""CF007: full garbage collections stop the loop."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "Take what lives as long as the run out of the collector's sight: `gc.collect(); gc.freeze()` "
    "before the first step. If steps still collect, switch it off (`gc.disable()`) and collect "
    "every some hundred steps, on all ranks in the same step."
)


class GarbageCollectionSlow(Rule):
    """Steps with a full collection, and their time above an ordinary step."""

    code = "CF007"
    name = "garbage-collection-slow"
    explains = ("GP206",)
    summary = (
        "{count} steps held a full garbage collection; their extra time is {cost_ms:.2f} ms of "
        "each step ({share:.1%})."
    )
    docs = """
## What it measures
Steps in which Python's collector ran over all objects, and their time above the median of
ordinary steps, shared by all steps.

## Why it matters
A full collection visits every object of the program and stops the loop meanwhile. With several
ranks each collects in another step, and all wait each time.

## What to try
Freeze what stays; collect by plan, on all ranks at once.

## False alarms
The extra time of a step may have another cause than the collection in it; few such steps say
little.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    least_count: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the cost with the step."""
        count, cost_ms = measured.num_gc_steps, measured.gc_cost_ms
        if count is None or cost_ms is None or not measured.step_mean_ms:
            return self.not_evaluated("steps with a collection were not recorded", RECORD_FACTS)
        share = cost_ms / measured.step_mean_ms
        severity = self.grade(share)
        if severity is None or count < self.least_count.value:
            return None
        source = measured.source("gc_cost_ms")
        return self.finding(
            severity,
            {"count": count, "cost_ms": cost_ms, "share": share},
            (
                row("steps with a full collection", count, "count", self.least_count, source),
                row("their extra time / step", share, "share", self.at_note, source),
            ),
            (Advice(text=_ADVICE, verify=verify("fewer steps tagged gc")),),
            cost_ms_per_step=cost_ms,
        )
