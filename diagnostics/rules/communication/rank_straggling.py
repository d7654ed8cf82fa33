"""CM001: the ranks wait for one of them."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.communication.straggler_advice import straggler_advice
from diagnostics.rules.finding import Evidence, Severity, Value
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_MORE_STEPS
from diagnostics.rules.rule import Outcome, Rule, Threshold

RECORD_RANKS = "record all ranks of a torchrun, and give the folder that holds them all"


class RankStraggling(Rule):
    """What the slowest rank costs the others, if it is nearly always the same."""

    code = "CM001"
    name = "rank-straggling"
    explains = ("CM002", "CM201", "GP001", "CF001")
    summary = (
        "The ranks wait for rank {rank}{place}: it is the slowest in {times} of {steps} steps, by "
        "{cause} ({excess_ms:.1f} ms above the others), and costs {cost_ms:.1f} of {step_ms:.1f} "
        "ms ({share:.1%})."
    )
    docs = """
## What it measures
Ranks that exchange gradients take equally long for a step, whichever of them is slow. So each
rank's own time is compared: its step without its waits for the others. The cost is what a step
would save if the slowest rank took no longer than the slowest of the others; the limits are held
against the part of it that is surely not chance (two standard errors less). The cause is the
group of phases in which that rank exceeds the median of the others most: input (waiting for data,
copying it), compute (forward, loss, backward, optimizer, the rest of the loop) or communication
(from gradients that are there to the launch of their exchange).

## Why it matters
Every rank pays for the slowest one: with eight GPUs, seven stand still.

## What to try
By input: that machine's disk and loader processes. By compute: that device's clock, temperature
and other users; or uneven work, such as crops of different sizes. By communication: compression
or a hook that is slow on that machine.

## False alarms
Ranks of different hardware are uneven by nature. On a CPU whose cores the ranks share, who is
late changes from step to step; a rank that is not steadily the slowest is no finding. A slow link
makes the exchange itself long for all ranks alike: the report shows that as exposed communication.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]
    steady: ClassVar[Threshold]
    firm_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Hold the slowest rank's cost against the step."""
        if measured.world_size == 1:
            return self.not_evaluated("the run had one rank; this rule compares ranks")
        cost_ms, step_ms = measured.rank_cost_ms, measured.rank_step_ms
        low_ms = measured.rank_cost_low_ms or 0.0
        steadiness, cause = measured.rank_slowest_share, measured.rank_cause
        if cost_ms is None or not step_ms or steadiness is None or cause is None:
            reason = measured.ranks_not_compared or "the ranks of the run were not compared"
            # Ranks that were recorded and not compared have too few steps in common.
            more = RECORD_MORE_STEPS if measured.num_rank_steps else RECORD_RANKS
            return self.not_evaluated(reason, more)
        severity = self.grade(low_ms / step_ms)
        if severity is None or steadiness < self.steady.value:
            return None
        values = {
            "rank": measured.rank_slowest,
            "place": say(" ({place})", place=measured.rank_place) if measured.rank_place else "",
            "times": round(steadiness * measured.num_rank_steps),
            "steps": measured.num_rank_steps,
            "cause": cause,
            "excess_ms": measured.rank_excess_ms.get(cause, 0.0),
            "cost_ms": cost_ms,
            "step_ms": step_ms,
            "share": cost_ms / step_ms,
        }
        firm = measured.num_rank_steps >= self.firm_steps.value
        return self.finding(
            severity if firm else min(severity, Severity.WARN),
            values,
            self._evidence(measured, low_ms / step_ms),
            straggler_advice(measured, cause, cost_ms),
            cost_ms_per_step=cost_ms,
        )

    def _evidence(self, measured: Measurements, share: float) -> tuple[Evidence, ...]:
        excess = measured.rank_excess_ms.items()
        rows: tuple[tuple[str, Value, str, float | None], ...] = (
            ("cost of the slowest rank / step, at least", share, "share", self.at_note.value),
            (
                "steps in which it was the slowest",
                measured.rank_slowest_share,
                "share",
                self.steady.value,
            ),
            ("steps compared", measured.num_rank_steps, "count", None),
            *(
                (say("{cause} above the others", cause=cause), ms, "ms", None)
                for cause, ms in excess
            ),
        )
        source = measured.source("rank_slowest")
        return tuple(
            Evidence(metric=name, value=value, unit=unit, limit=limit, source=source)
            for name, value, unit, limit in rows
        )
