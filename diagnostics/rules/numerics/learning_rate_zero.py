"""NU006: steps are taken with a learning rate of zero."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_OURS = (
    "The schedule is over before the steps are, or never began: TRAIN.SCHED.WARMUP_STEPS is "
    "{warmup}, the run is planned for {total} steps."
)
_OTHER = "The schedule is over before the steps are, or never began: compare its length with them."


class LearningRateZero(Rule):
    """Steps whose learning rate was zero."""

    code = "NU006"
    name = "learning-rate-zero"
    summary = (
        "{count} of {steps} steps ({share:.1%}) had a learning rate of 0: they cost their time and "
        "changed nothing."
    )
    docs = """
## What it measures
Recorded learning rates that are exactly zero.

## Why it matters
Such a step computes everything and changes no weight (weight decay apart).

## What to try
A schedule as long as the run; a warm-up that ends before it.

## False alarms
The very last step of a cosine schedule, or the very first of a warm-up, may be zero by
construction.
"""
    at_warn: ClassVar[Threshold]
    by_construction: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Count them."""
        count, steps = measured.num_zero_rate, measured.num_rates
        if count is None or not steps:
            own = "give lr to run.step()"
            return self.not_evaluated(
                "learning rates were not recorded", own if measured.is_own_loop else RECORD_FACTS
            )
        share = count / steps
        if count <= self.by_construction.value or share < self.at_warn.value:
            return None
        return self.finding(
            Severity.WARN,
            {"count": count, "steps": steps, "share": share},
            (
                row(
                    "steps with a learning rate of 0",
                    share,
                    "share",
                    self.at_warn,
                    measured.source("num_zero_rate"),
                ),
            ),
            (Advice(text=_text(measured), verify=verify("no learning-rate-zero")),),
            cost_ms_per_step=measured.step_ms * share if measured.step_ms else None,
        )


def _text(measured: Measurements) -> str:
    warmup = measured.whole_setting("TRAIN.SCHED.WARMUP_STEPS")
    total = measured.whole_setting("TRAIN.TOTAL_STEPS")
    if warmup is None or total is None:
        return _OTHER
    return say(_OURS, warmup=warmup, total=total)
