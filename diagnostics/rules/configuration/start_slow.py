"""CF008: the first step comes late."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "See what the start does: listing files of a slow disk (keep a list of them), filling a cache "
    "before the first step, building or compiling the network, waiting for other ranks."
)


class StartSlow(Rule):
    """The time from the run's start to its first step."""

    code = "CF008"
    name = "start-slow"
    summary = "The first step began {start_s:.0f} s after the run's start, {share:.0%} of its time."
    docs = """
## What it measures
The time from the start of the run to the start of its first step, against the time of the whole
run until now.

## Why it matters
All GPUs of the run are taken and idle meanwhile. Whoever tries things out pays for it each time.

## What to try
A list of files instead of searching them; no cache that is filled beforehand.

## False alarms
In a long run a slow start is a small share and stays a note unless it passes twenty minutes.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    share: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the time with the limits."""
        start_s, wall_s = measured.first_step_after_s, measured.wall_s
        if start_s is None or wall_s is None:
            return self.not_evaluated("start and first step are not known", RECORD_FACTS)
        share = start_s / (start_s + wall_s)
        late = start_s >= self.at_warn.value
        if not late and (start_s < self.at_note.value or share < self.share.value):
            return None
        source = measured.source("first_step_after_s")
        return self.finding(
            Severity.WARN if late else Severity.NOTE,
            {"start_s": start_s, "share": share},
            (
                row("start to first step, s", start_s, "", self.at_note, source),
                row("start / run", share, "share", self.share, source),
            ),
            (Advice(text=_ADVICE, verify=verify("an earlier first step")),),
        )
