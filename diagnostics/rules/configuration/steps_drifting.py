"""CF004: steps become longer over the run."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "Compare the phases of early and late steps (steps.rank*.jsonl): data_wait points at a disk or "
    "a cache that is full, all phases alike at heat or at neighbours on the machine, `other` at a "
    "list or a log that grows with every step."
)


class StepsDrifting(Rule):
    """The robust slope of the step's time."""

    code = "CF004"
    name = "steps-drifting"
    summary = (
        "Steps became {share:.1%} longer from the first to the last of {steps} (at least "
        "{low:.1%})."
    )
    docs = """
## What it measures
The Theil-Sen slope of ordinary steps over the run, as a share of the first step; the limits are
held against its lower 95 % bound for a note, and against the slope itself for a warning.

## Why it matters
A step that grows has a cause that grows: memory, a list, heat, a disk that fills. What is small
after an hour decides a run of weeks.

## What to try
See which phase grew; the findings about memory, heat and neighbours name their part.

## False alarms
A crop schedule makes steps longer on purpose; with one the rule does not judge. Steps follow each
other and are not independent, so that the bounds are somewhat too narrow.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    least_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the drift and its lower bound with the limits."""
        share, low = measured.step_drift_share, measured.step_drift_low_share
        if measured.setting("DATA.CROP_SCHEDULE"):
            return self.not_evaluated("the crop changes with the epochs (DATA.CROP_SCHEDULE)")
        if not measured.num_rhythm_steps:
            return self.not_evaluated("the times of single steps are not known", RECORD_FACTS)
        if measured.num_rhythm_steps < self.least_steps.value or share is None or low is None:
            return self.not_evaluated(
                say(
                    "{steps} ordinary step(s); 100 are needed for a trend",
                    steps=measured.num_rhythm_steps,
                ),
                "train longer",
            )
        severity = self.grade(share)
        if severity is None or low < self.at_note.value:
            return None
        median_ms = measured.step_median_ms
        source = measured.source("step_drift_share")
        return self.finding(
            severity,
            {"share": share, "low": low, "steps": measured.num_rhythm_steps},
            (
                row("growth of a step / first step", share, "share", self.at_warn, source),
                row("surely at least", low, "share", self.at_note, source),
            ),
            (Advice(text=_ADVICE, verify=verify("no steps-drifting")),),
            # The median lies in the middle of the line: half of the growth is in it.
            cost_ms_per_step=median_ms * share / (2 + share) if median_ms else None,
        )
