"""TR001: the parts do not sum to the whole."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NO_STEPS, RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class PhasesDoNotClose(Rule):
    """Phases against the step, stages against the forward."""

    code = "TR001"
    name = "phases-do-not-close"
    summary = "The measured parts miss their whole by up to {gap:.1%}; shares are off by as much."
    docs = """
## What it measures
The sum of the phases against the step, and the sum of the forward's stages against the forward.

## Why it matters
Time that no part owns, or that two parts count, makes every share wrong by as much. A diagnosis
built on it may point at the wrong place.

## What to try
Update trainer and tools together. If the log was written by another program, give its own facts
or a trace.

## False alarms
Rounding in a text log (a tenth of a millisecond for each part) shows in steps of a few
milliseconds.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Take the larger of the two gaps."""
        gaps = {
            "phases of the step": measured.phase_gap_share,
            "stages of the forward": measured.stage_gap_share,
        }
        known = {name: gap for name, gap in gaps.items() if gap is not None}
        if not known:
            return self.not_evaluated(NO_STEPS, RECORD_FACTS)
        gap = max(known.values())
        severity = self.grade(gap)
        if severity is None:
            return None
        return self.finding(
            severity,
            {"gap": gap},
            tuple(
                Evidence(
                    metric=say("gap of the {name}", name=name),
                    value=gap,
                    unit="share",
                    limit=self.at_warn.value,
                    source=measured.source("phase_ms"),
                )
                for name, gap in known.items()
            ),
            (
                Advice(
                    text="Take the shares of this report as rough; record the run again with the "
                    "present trainer.",
                    verify=verify("no phases-do-not-close"),
                ),
            ),
        )
