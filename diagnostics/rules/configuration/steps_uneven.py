"""CF006: steps take very different times."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_MORE_STEPS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "See which phase scatters (median and p95 of the phases above): data_wait is the loader or the "
    "disk, forward and backward alike a clock or a neighbour on the machine, `other` the loop."
)


class StepsUneven(Rule):
    """The 95th percentile of ordinary steps against their median."""

    code = "CF006"
    name = "steps-uneven"
    summary = (
        "Steps are uneven: one in twenty takes {ratio:.1f} times the median or more ({p95_ms:.1f} "
        "against {median_ms:.1f} ms)."
    )
    docs = """
## What it measures
The 95th percentile of ordinary steps divided by their median, by the host's clock.

## Why it matters
With several ranks everybody waits for the unlucky one, so that scatter costs its maximum. And a
difference between two runs is hard to see in it.

## What to try
Find the phase that scatters; findings about neighbours, clocks, loading and memory name their
part.

## False alarms
Clips or crops of different sizes take different times. On a CPU anything else on the machine shows
in every step: there it is a note at most.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    least_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the ratio with the limits."""
        median_ms, p95_ms = measured.step_median_ms, measured.step_p95_ms
        mean_ms = measured.step_mean_ms
        if measured.num_rhythm_steps < self.least_steps.value:
            return self.not_evaluated("fewer than 20 single steps are known", RECORD_MORE_STEPS)
        if not median_ms or p95_ms is None or mean_ms is None:
            return self.not_evaluated("the times of single steps are not known", RECORD_MORE_STEPS)
        ratio = p95_ms / median_ms
        if ratio < self.at_note.value:
            return None
        severe = ratio >= self.at_warn.value and measured.device == "cuda"
        source = measured.source("step_p95_ms")
        return self.finding(
            Severity.WARN if severe else Severity.NOTE,
            {"ratio": ratio, "p95_ms": p95_ms, "median_ms": median_ms},
            (
                row("p95 / median of a step", ratio, "", self.at_note, source),
                row("median step", median_ms, "ms", None, source),
                row("mean step", mean_ms, "ms", None, source),
            ),
            (Advice(text=_ADVICE, verify=verify("p95 of the step closer to its median")),),
            cost_ms_per_step=max(0.0, mean_ms - median_ms),
        )
