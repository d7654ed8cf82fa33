"""CF003: writing checkpoints takes a visible part of the run."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.configuration.rarer import rarer, rarer_setting
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

KEY = "LOG.CHECKPOINT_EVERY_STEPS"
_RARER = (
    "Save every {proposed} steps instead of every {current}: then it takes {wanted:.0%}, and a "
    "crash costs {lost_min:.0f} minutes at most."
)
_FASTER = (
    "One checkpoint takes {each_s:.1f} s: write to a faster or a local disk, or save more seldom."
)


class SavingSlow(Rule):
    """Time of all checkpoints against the wall time of the run."""

    code = "CF003"
    costs_outside_steps = True
    name = "saving-slow"
    summary = (
        "{count} checkpoints take {share:.1%} of the run's time ({each_s:.1f} s each), {ms:.1f} ms "
        "for each training step."
    )
    docs = """
## What it measures
The time of all checkpoints, against the time from the first step to the end of the last step or
span.

## Why it matters
The training stands still while it saves. On a shared or remote disk that can be minutes.

## What to try
A faster disk; a longer interval, computed so that saving takes a hundredth of the time.

## False alarms
A short run saves at its end whatever its length: with fewer than three checkpoints the rule does
not judge. Saving often is an insurance that may be worth its price.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    wanted: ClassVar[Threshold]
    least_count: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the share with the limits."""
        share, ms = measured.checkpoint_wall_share, measured.checkpoint_ms
        count, mean_ms = measured.num_checkpoints, measured.checkpoint_mean_ms
        if measured.wall_s is None:
            return self.not_evaluated("the time of steps and checkpoints is unknown", RECORD_FACTS)
        if count < self.least_count.value or share is None or ms is None or mean_ms is None:
            return self.not_evaluated(
                say("{count} checkpoint(s); three are needed", count=count), "train longer"
            )
        severity = self.grade(share)
        if severity is None:
            return None
        source = measured.source("checkpoint_ms")
        return self.finding(
            severity,
            {"count": count, "share": share, "each_s": mean_ms / 1000, "ms": ms},
            (
                row("checkpoints / wall time", share, "share", self.at_note, source),
                row("one checkpoint", mean_ms, "ms", None, source),
            ),
            self._advice(measured, share, ms),
            cost_ms_per_step=ms,
        )

    def _advice(self, measured: Measurements, share: float, ms: float) -> tuple[Advice, ...]:
        each_s = (measured.checkpoint_mean_ms or 0.0) / 1000
        sign = verify("saving-slow is gone")
        faster = Advice(text=say(_FASTER, each_s=each_s), verify=sign)
        every, step_ms = measured.whole_setting(KEY), measured.step_ms
        if not every or not step_ms:
            return (faster,)
        proposed = rarer(every, share, self.wanted.value)
        text = say(
            _RARER,
            proposed=proposed,
            current=every,
            wanted=self.wanted.value,
            lost_min=proposed * step_ms / 60_000,
        )
        change, gain = rarer_setting(KEY, every, proposed, ms)
        return (faster, Advice(text=text, config_change=change, predicted_gain=gain, verify=sign))
