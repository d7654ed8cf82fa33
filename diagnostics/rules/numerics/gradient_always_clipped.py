"""NU007: nearly every gradient is clipped."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "The limit is {limit:g}, the median norm {median:.3g}: with it the length of every update is "
    "the same. If that is not meant, set the limit above the usual norm, or lower the learning "
    "rate; compare the loss of a short run of each."
)


class GradientAlwaysClipped(Rule):
    """Steps whose gradient was longer than TRAIN.MAX_GRAD_NORM."""

    code = "NU007"
    name = "gradient-always-clipped"
    for_our_trainer = True
    summary = (
        "{share:.0%} of {count} gradients were longer than the limit of {limit:g} and clipped."
    )
    docs = """
## What it measures
How often the norm of the gradient before clipping was above TRAIN.MAX_GRAD_NORM.

## Why it matters
Clipping is a guard against rare spikes. When it acts in every step it has become a part of the
learning rate, and a change of the loss's scale changes nothing any more.

## What to try
A limit above the usual norm, if that was not the intention.

## False alarms
Some recipes normalise each gradient on purpose. With Adam the length of a gradient matters little;
the finding is a note.
"""
    at_note: ClassVar[Threshold]
    least_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the share with the limit."""
        share, count = measured.clipped_share, measured.num_norms
        limit, median = measured.number_setting("TRAIN.MAX_GRAD_NORM"), measured.grad_norm_median
        if share is None or limit is None or median is None:
            return self.not_evaluated("gradient norms or their limit are not known", RECORD_FACTS)
        if count < self.least_steps.value:
            return self.not_evaluated(
                say("{count} norms; 100 are needed", count=count), "train longer"
            )
        if share < self.at_note.value:
            return None
        source = measured.source("clipped_share")
        return self.finding(
            Severity.NOTE,
            {"share": share, "count": count, "limit": limit},
            (
                row("clipped gradients", share, "share", self.at_note, source),
                row("median norm", median, "", limit, measured.source("grad_norm_median")),
            ),
            (
                Advice(
                    text=say(_ADVICE, limit=limit, median=median),
                    verify=verify("no gradient-always-clipped, loss as before or lower"),
                ),
            ),
        )
