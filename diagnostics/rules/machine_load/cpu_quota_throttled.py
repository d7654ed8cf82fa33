"""MA004: the container's CPU quota holds the run back."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_SAMPLED, RECORD_MACHINE, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "Raise the container's quota (it is {quota:g} cores), or use fewer loader processes and "
    "threads than it allows, so that nobody is stopped in the middle of a step."
)


class CpuQuotaThrottled(Rule):
    """Time in which the kernel stopped the run's tasks for their quota."""

    code = "MA004"
    name = "cpu-quota-throttled"
    explains = ("CF006",)
    summary = (
        "The container's quota of {quota:g} cores held the run back for {share:.1%} of the time."
    )
    docs = """
## What it measures
The kernel's count of the time in which tasks of the container were stopped because its quota for
the period was used up.

## Why it matters
The tasks stand still until the next period begins, ten times in a second: loading, launching of
kernels and logging all stop at once.

## What to try
A larger quota, or fewer threads and loader processes.

## False alarms
The figure sums over the tasks that were stopped: with many of them a small share of each one's
time adds up.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the held-back time with the limits."""
        share, quota = measured.quota_throttled_share, measured.cores_quota
        if measured.is_machine_sampled and quota is None:
            return None
        if share is None or quota is None:
            return self.not_evaluated(NOT_SAMPLED, RECORD_MACHINE)
        severity = self.grade(share)
        if severity is None:
            return None
        return self.finding(
            severity,
            {"quota": quota, "share": share},
            (
                row(
                    "time held back by the quota",
                    share,
                    "share",
                    self.at_note,
                    measured.source("quota_throttled_share"),
                ),
            ),
            (Advice(text=say(_ADVICE, quota=quota), verify=verify("no cpu-quota-throttled")),),
            cost_ms_per_step=measured.step_ms * min(1.0, share) if measured.step_ms else None,
        )
