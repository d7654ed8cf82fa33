"""TR002: too few steps for a verdict."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NO_STEPS, RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class TooFewSteps(Rule):
    """Ordinary steps, those without a tag."""

    code = "TR002"
    name = "too-few-steps"
    summary = "Only {steps} ordinary step(s) (was|were) measured ({excluded} left out)."
    docs = """
## What it measures
The number of steps that statistics rest on. First steps, steps after a validation or a
checkpoint, and steps under the profiler are left out.

## Why it matters
Means of a few steps move with every hiccup of the machine, and a p95 of five steps is their
maximum.

## What to try
Train longer, or validate and save less often.

## False alarms
For a first look a few steps are enough: the order of phases and stages rarely changes.
"""
    at_note: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Count the steps."""
        if measured.is_log_unknown:
            return self.not_evaluated(NO_STEPS, RECORD_FACTS)
        steps = measured.num_steps
        if steps >= self.at_note.value:
            return None
        severity = Severity.CRITICAL if steps < self.at_critical.value else Severity.NOTE
        return self.finding(
            severity,
            {"steps": steps, "excluded": measured.num_excluded_steps},
            (
                Evidence(
                    metric="ordinary steps",
                    value=steps,
                    unit="count",
                    limit=self.at_note.value,
                    source=measured.source("num_steps"),
                ),
            ),
            (
                Advice(
                    text=say(
                        "Train for at least {least:.0f} ordinary steps.",
                        least=self.at_note.value,
                    ),
                    verify=verify("no too-few-steps"),
                ),
            ),
        )
