"""CF005: every so many steps one is slow."""

from collections.abc import Mapping
from typing import ClassVar

from diagnostics.language import listed, say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_MORE_STEPS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_SETTINGS = "The period is that of {keys}: do that more seldom, or make it cheaper."
_LOADER = (
    "The slow steps wait for data, every {every}: with {workers} loader process(es) their batches "
    "come in bursts. Making a batch is too slow for their number (rule DL001)."
)
_OTHER = (
    "Most of the extra time is in {phase}: look for what the loop does every {every} steps there, "
    "such as logging, drawing, saving or emptying a cache."
)


class StepsSlowInTurn(Rule):
    """Slow steps at equal distances, what they cost, and whose period it is."""

    code = "CF005"
    name = "steps-slow-in-turn"
    explains = ("CF006",)
    summary = (
        "{count} steps were slow, one in every {every}: together {cost_ms:.1f} ms of each step "
        "({share:.1%}), most of it in {phase}."
    )
    docs = """
## What it measures
Ordinary steps of more than 1.5 times the median and well outside its scatter, the distance between
them, and the phase in which they exceed the median most.

## Why it matters
What comes back at a fixed distance has one cause in the loop, and is easily made rarer.

## What to try
The report names settings with that period. A loader whose processes deliver in bursts has the
period of their number.

## False alarms
Steps after a validation, a checkpoint or a full garbage collection carry a tag and are not among
them.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """A period, and a cost."""
        count, cost_ms = measured.num_slow_steps, measured.slow_steps_cost_ms
        every, phase = measured.slow_steps_every, measured.slow_steps_phase
        if count is None or cost_ms is None or not measured.step_mean_ms:
            return self.not_evaluated("fewer than 20 single steps are known", RECORD_MORE_STEPS)
        share = cost_ms / measured.step_mean_ms
        severity = self.grade(share)
        if every is None or severity is None:
            return None
        source = measured.source("num_slow_steps")
        return self.finding(
            severity,
            {
                "count": count,
                "every": every,
                "cost_ms": cost_ms,
                "share": share,
                "phase": phase or "no single phase",
            },
            (
                row(
                    "slow steps' time above the median / step", share, "share", self.at_note, source
                ),
                row("slow steps", count, "count", None, source),
            ),
            (_advice(measured, every, phase),),
            cost_ms_per_step=cost_ms,
        )


def _advice(measured: Measurements, every: int, phase: str | None) -> Advice:
    sign = verify("no steps-slow-in-turn")
    if phase == "data_wait":
        workers = "an unknown number of" if measured.num_workers is None else measured.num_workers
        return Advice(text=say(_LOADER, every=every, workers=workers), verify=sign)
    log = measured.setting("LOG")
    settings = log if isinstance(log, Mapping) else {}
    keys = sorted(f"LOG.{key}" for key, value in settings.items() if value == every)
    if keys:
        return Advice(text=say(_SETTINGS, keys=listed(keys)), verify=sign)
    return Advice(text=say(_OTHER, phase=phase or "no single phase", every=every), verify=sign)
