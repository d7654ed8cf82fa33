"""CF009: hours of work are not saved."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

KEY = "LOG.CHECKPOINT_EVERY_STEPS"
WANTED_S = 1800.0
"""Work at stake that the proposal aims at: half an hour."""
_SOONER = "Save every {proposed} steps instead of every {current}: about every half hour."
_OTHER = "Save more often: every half hour costs little."


class CheckpointOverdue(Rule):
    """Time since the last checkpoint, in a run that has not ended well."""

    code = "CF009"
    name = "checkpoint-overdue"
    summary = "{steps} steps ({hours:.1f} hours of work) came after the last checkpoint."
    docs = """
## What it measures
Steps and time between the last checkpoint (or the first step, without one) and the last step, in
runs that were cut off or still go on.

## Why it matters
Whatever ends the process takes these steps with it: a full memory, a reboot, the end of a
reservation.

## What to try
A shorter interval; saving takes seconds.

## False alarms
Loops that save without telling the recorder (a span named checkpoint) cannot be judged, and are
not.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the time with the limits."""
        unsaved_s, steps = measured.unsaved_s, measured.unsaved_steps
        if unsaved_s is None or steps is None or measured.status is None:
            return self.not_evaluated("steps and checkpoints of the run are unknown", RECORD_FACTS)
        if measured.is_own_loop and not measured.num_checkpoints:
            return self.not_evaluated(
                "the loop told of no checkpoint", 'save inside `run.span("checkpoint")`'
            )
        if measured.status == "finished":
            return None
        severity = self.grade(unsaved_s)
        if severity is None:
            return None
        source = measured.source("unsaved_s")
        return self.finding(
            severity,
            {"steps": steps, "hours": unsaved_s / 3600},
            (
                row("since the last checkpoint, s", unsaved_s, "", self.at_note, source),
                row("checkpoints of the run", measured.num_checkpoints, "count", None, source),
            ),
            (_advice(measured),),
        )


def _advice(measured: Measurements) -> Advice:
    every, step_ms = measured.whole_setting(KEY), measured.step_ms
    sign = verify("no checkpoint-overdue")
    if not every or not step_ms:
        return Advice(text=_OTHER, verify=sign)
    proposed = max(1, int(WANTED_S * 1000 / step_ms))
    if proposed >= every:
        return Advice(text=_OTHER, verify=sign)
    return Advice(
        text=say(_SOONER, proposed=proposed, current=every),
        config_change=ConfigChange(key=KEY, current=every, proposed=proposed),
        verify=sign,
    )
