"""NU003: float16 gradients overflow again and again."""

from typing import ClassVar

from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.numerics.amp_advice import amp_advice
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class AmpOverflowsOften(Rule):
    """Updates left out because of overflow, as a share of the steps."""

    code = "NU003"
    name = "amp-overflows-often"
    for_our_trainer = True
    summary = "{count} of {steps} updates ({share:.1%}) were left out because float16 overflowed."
    docs = """
## What it measures
How often the gradient scaler left out an update because a scaled float16 gradient overflowed.

## Why it matters
Each one is a step paid for and thrown away; many of them announce NaN.

## What to try
bfloat16 where the GPU has it; a smaller first gradient scale.

## False alarms
The scaler begins too high on purpose and probes upward every 2000 good steps: a handful at the
start and one per probe are normal. Runs of a few steps show the start only.
"""
    at_warn: ClassVar[Threshold]
    normal_at_start: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the share of left-out updates."""
        if measured.device == "cpu" or measured.setting("TRAIN.AMP_ENABLED") is False:
            return self.not_evaluated("the run used no mixed precision")
        count = measured.num_amp_overflows
        steps = measured.num_steps + measured.num_excluded_steps
        if count is None or not steps:
            return self.not_evaluated("events of the run were not recorded", RECORD_FACTS)
        share = count / steps
        if share < self.at_warn.value or count <= self.normal_at_start.value:
            return None
        return self.finding(
            Severity.WARN,
            {"count": count, "steps": steps, "share": share},
            (
                Evidence(
                    metric="left-out updates / steps",
                    value=share,
                    unit="share",
                    limit=self.at_warn.value,
                    source=measured.source("num_amp_overflows"),
                ),
            ),
            amp_advice(measured)
            or (
                Advice(
                    text="Lower the learning rate or clip gradients harder: the scale is already "
                    "small.",
                    verify=verify("fewer updates left out"),
                ),
            ),
        )
