"""NU005: the loss no longer falls, or rises."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_STANDS = (
    "See whether validation stands still as well. If so, the learning rate is too low or too high "
    "for this stage of the training, or the network has learned what it can."
)
_RISES = (
    "Go back to a checkpoint from before the rise and train on with half the learning rate; look "
    "for a change in the data from there on."
)


class LossStandsStill(Rule):
    """The robust slope of the loss over the second half of the steps."""

    code = "NU005"
    name = "loss-stands-still"
    summary = (
        "The loss {what} over the last {count} steps: {change:+.1%} of its median (from {low:+.1%} "
        "to {high:+.1%})."
    )
    docs = """
## What it measures
The Theil-Sen slope of the training loss over the second half of the steps with its 95 % interval,
as a share of the loss there.

## Why it matters
Steps that teach nothing cost as much as those that do. A loss that rises announces worse.

## What to try
The learning rate and its schedule; the validation, which decides.

## False alarms
Near the end of a schedule the loss flattens by nature. A change of crop or data moves its level.
"""
    falls: ClassVar[Threshold]
    rises: ClassVar[Threshold]
    least_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Hold both ends of the interval against the limits."""
        change, count = measured.loss_change_share, measured.num_late_losses
        low, high = measured.loss_change_low_share, measured.loss_change_high_share
        if not count:
            own = "give loss to run.step()"
            return self.not_evaluated(
                "losses were not recorded", own if measured.is_own_loop else RECORD_FACTS
            )
        if count < self.least_steps.value or change is None or low is None or high is None:
            return self.not_evaluated(
                say("{count} losses in the second half; 500 are needed", count=count),
                "train longer",
            )
        rises, stands = low > self.rises.value, low > -self.falls.value
        if not stands:
            return None
        source = measured.source("loss_change_share")
        return self.finding(
            Severity.WARN if rises else Severity.NOTE,
            {
                "what": "rises" if rises else "no longer falls",
                "count": count,
                "change": change,
                "low": low,
                "high": high,
            },
            (
                row("change of the loss", change, "share", None, source),
                row("at least", low, "share", -self.falls.value, source),
            ),
            (
                Advice(
                    text=_RISES if rises else _STANDS,
                    verify=verify("loss and validation PSNR over the next steps"),
                ),
            ),
        )
