"""MA005: tasks wait for a disk."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_SAMPLED, RECORD_MACHINE, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_CACHE = (
    "Read less: let the cache in memory hold what is decoded, put the data on a faster or a local "
    "disk, or pack small files into larger ones."
)
_READ_SHARE = "reading / making a batch"


class DiskSaturated(Rule):
    """Pressure of the disks, beside the wait for data."""

    code = "MA005"
    name = "disk-saturated"
    explains = ("DL001",)
    summary = (
        "For {share:.1%} of the time every task that could run waited for a disk, while "
        "{wait:.1%} of each step waits for data."
    )
    docs = """
## What it measures
The kernel's pressure figure for disks (every task that was not idle waited for one), of the
container where it tells, beside the wait for data.

## Why it matters
More loader processes on a slow disk only queue. Reading is then the part of loading to repair.

## What to try
The cache in memory, a faster disk, fewer and larger files.

## False alarms
Checkpoints and other programs press on the disk, too. Without a wait for data the finding is a
note: nobody was slowed down.
"""
    at_note: ClassVar[Threshold]
    wait_share: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare pressure and wait with their limits."""
        stall, step_ms = measured.disk_stall_share, measured.step_ms
        if stall is None:
            return self.not_evaluated(NOT_SAMPLED, RECORD_MACHINE)
        if stall < self.at_note.value:
            return None
        wait_ms = measured.data_wait_exposed_ms
        wait = wait_ms / step_ms if wait_ms is not None and step_ms else 0.0
        waits = wait >= self.wait_share.value
        return self.finding(
            Severity.WARN if waits else Severity.NOTE,
            {"share": stall, "wait": wait},
            (
                row(
                    "time in which all tasks waited for a disk",
                    stall,
                    "share",
                    self.at_note,
                    measured.source("disk_stall_share"),
                ),
                row(
                    "exposed data wait / step",
                    wait,
                    "share",
                    self.wait_share,
                    measured.source("data_wait_exposed_ms"),
                ),
                row(
                    _READ_SHARE,
                    measured.loading_shares.get("read"),
                    "share",
                    None,
                    measured.source("loading_shares"),
                ),
            ),
            (Advice(text=_CACHE, verify=verify("no disk-saturated, data_wait shorter")),),
            cost_ms_per_step=min(wait_ms, stall * step_ms)
            if waits and wait_ms is not None and step_ms
            else None,
        )
