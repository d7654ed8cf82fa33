"""NU001: NaN or Inf in loss or gradients."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange, Evidence
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.numerics.amp_advice import amp_advice
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class LossNotFinite(Rule):
    """A step whose loss or gradients were NaN or infinite."""

    code = "NU001"
    name = "loss-not-finite"
    summary = "Loss or gradients were not finite in {count} step(s), first in step {step}{tensor}."
    docs = """
## What it measures
The steps in which the trainer met NaN or infinity. A float16 overflow that the gradient scaler
answers by leaving out one update is not counted here.

## Why it matters
One such step spoils every weight it reaches. Everything that was trained after it is lost.

## What to try
The first bad tensor tells where to look: data, a layer, or a gradient. Lower the learning rate or
clip harder; with float16 use bfloat16 or a smaller first scale. More aggressive mixed precision
is no cure.

## False alarms
None: NaN is never wanted. A single bad frame of the data set can cause it; the named tensor
shows.
"""
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Count the steps."""
        count = measured.num_nonfinite
        if count is None:
            return self.not_evaluated("losses were not recorded", RECORD_FACTS)
        severity = self.grade(count)
        if severity is None:
            return None
        tensor = measured.first_nonfinite_tensor
        step = measured.first_nonfinite_step
        return self.finding(
            severity,
            {
                "count": count,
                "step": "unknown" if step is None else step,
                "tensor": f" ({tensor})" if tensor else "",
            },
            (
                Evidence(
                    metric="steps that were not finite",
                    value=count,
                    unit="count",
                    limit=self.at_critical.value,
                    source=measured.source("num_nonfinite"),
                ),
            ),
            (*amp_advice(measured), _lower_rate(measured)),
        )


def _lower_rate(measured: Measurements) -> Advice:
    rate = measured.number_setting("TRAIN.OPTIM.LR")
    if not rate:
        return Advice(
            text="Look at the first bad tensor; lower the learning rate or clip gradients harder.",
            verify=verify("no NaN"),
        )
    return Advice(
        text=say(
            "Look at the first bad tensor. If it is neither data nor a layer's own fault, "
            "halve the learning rate from {rate:g} to {half:g}.",
            rate=rate,
            half=rate / 2,
        ),
        config_change=ConfigChange(key="TRAIN.OPTIM.LR", current=rate, proposed=rate / 2),
        verify=verify("no NaN"),
    )
