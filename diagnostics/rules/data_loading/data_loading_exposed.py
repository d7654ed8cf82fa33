"""DL001: the step waits for the next batch."""

from typing import ClassVar

from diagnostics.rules.data_loading.exposed_wait import NO_WAIT, exposed_wait
from diagnostics.rules.data_loading.first_pass import is_over_with_first_pass
from diagnostics.rules.data_loading.loader_advice import loader_advice
from diagnostics.rules.data_loading.loading_evidence import loading_evidence
from diagnostics.rules.evidence_row import row
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NO_STEPS, RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold


class DataLoadingExposed(Rule):
    """The wait for data that nothing hides, as a share of the step."""

    code = "DL001"
    name = "data-loading-exposed"
    explains = ("GP201", "GP001", "CF001")
    summary = (
        "{share:.1%} of each step ({wait_ms:.1f} of {step_ms:.1f} ms) waits for the next batch."
    )
    docs = """
## What it measures
The time around the fetch of the next batch in which the device has nothing to do, as a share of
the step. On a GPU that is device time between the end of the queued work and the arrival of the
batch; on a CPU the whole wait counts.

## Why it matters
While the step waits, the device is idle. All of this time can be won back without touching the
model: it is the first thing to repair.

## What to try
More loader processes if cores and memory allow it; voxels computed beforehand; the cache in memory;
prefetching. Where the processes were seen to wait rather than to compute (a slow disk, a network),
what need not be read again comes first: the cache, or files on a faster disk. More processes than
cores may help there, too, if the storage serves several at once; a run with fewer cannot tell. The
report proposes a value only where it knows the present one and the room there is, and leaves out
what would only spare a part of loading that the facts show to be small.

## False alarms
A run of a few steps, or the first steps after a start, wait for the workers to come up. A wait that
ends with the first pass over the data, since what was read is kept, is rule DL007's. A text log
gives the wait on the host; on a GPU part of it may be hidden behind queued work, which the facts
folder shows.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]
    goal_ms: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the exposed wait with the step."""
        if not measured.step_ms:
            return self.not_evaluated(NO_STEPS, RECORD_FACTS)
        found = exposed_wait(measured)
        if found is None:
            return self.not_evaluated(NO_WAIT, RECORD_FACTS)
        wait_ms, field = found
        share = wait_ms / measured.step_ms
        severity = self.grade(share)
        if severity is None or is_over_with_first_pass(measured, self.at_note.value):
            return None
        source, workers = measured.source(field), measured.num_workers
        return self.finding(
            severity,
            {"share": share, "wait_ms": wait_ms, "step_ms": measured.step_ms},
            (
                row("exposed data wait / step", share, "share", self.at_note, source),
                row("data wait", wait_ms, "ms", self.goal_ms, source),
                row("loader processes", workers, "count", None, measured.source("num_workers")),
                *loading_evidence(measured),
            ),
            loader_advice(measured, wait_ms, measured.step_ms),
            cost_ms_per_step=wait_ms,
        )
