"""NU004: gradients explode or vanish."""

from typing import ClassVar

from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class GradientNormExtreme(Rule):
    """The gradient's norm before clipping: its peak against its median, and its median."""

    code = "NU004"
    name = "gradient-norm-extreme"
    summary = "The gradient's norm {what} (median {median:.3g}, largest {largest:.3g})."
    docs = """
## What it measures
The norm of the whole gradient before clipping: its largest value beside its median over the
steps.

## Why it matters
A spike, even if clipped, turns the update into noise; a gradient that is almost zero trains
nothing. Both precede NaN or a loss that stands still.

## What to try
For spikes: clipping (TRAIN.MAX_GRAD_NORM), a longer warm-up, a look at the batch of that step.
For a vanished gradient: the learning rate's schedule, float16 underflow, a frozen part.

## False alarms
The first steps of a training have larger gradients than the later ones. With clipping, single
spikes do little harm; the finding is a note.
"""
    spike: ClassVar[Threshold]
    vanished: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare peak and median."""
        median, largest = measured.grad_norm_median, measured.grad_norm_max
        if median is None or largest is None:
            own = "give grad_norm to run.step()"
            return self.not_evaluated(
                "the gradient's norm was not recorded",
                own if measured.is_own_loop else RECORD_FACTS,
            )
        if median < self.vanished.value:
            what, severity, limit = "has vanished", Severity.WARN, self.vanished.value
        elif largest >= self.spike.value * median:
            what, severity, limit = "has spikes", Severity.NOTE, self.spike.value * median
        else:
            return None
        source = measured.source("grad_norm_median")
        return self.finding(
            severity,
            {"what": what, "median": median, "largest": largest},
            (
                Evidence(metric="median norm", value=median, unit="", source=source),
                Evidence(metric="largest norm", value=largest, unit="", limit=limit, source=source),
            ),
            (
                Advice(
                    text="Look at the steps with extreme norms (steps.rank*.jsonl, grad_norm) "
                    "before changing a switch.",
                    verify=verify("no gradient-norm-extreme"),
                ),
            ),
        )
