"""DL004: each epoch begins with a wait for the loader to start."""

from typing import ClassVar

from diagnostics.analyses.loader_starts import LEAST_START_MS
from diagnostics.language import say
from diagnostics.rules.data_loading.loader_advice import persistent_workers
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, NotEvaluated
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_LOADER, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_LONGER = (
    "Make epochs longer than they are, for example by a sampler that repeats the data, so that the "
    "loader starts less often: between two epochs its queue runs empty."
)
_STARTS_NONE = "the training process makes its batches itself: an epoch starts no loading process"
_NONE_SEEN = (
    "no start of the loader was seen after the first: no second epoch began, or starting took less "
    "than {least_ms:g} ms"
)
_NO_SECOND = "no second epoch began"


class EpochStartSlow(Rule):
    """Starting the loader and waiting for its first batch, after the first epoch."""

    code = "DL004"
    name = "epoch-start-slow"
    summary = (
        "The loader was started again {count} time(s), {start_ms:.1f} ms each until the first "
        "batch: "
        "{cost_ms:.1f} ms of each step ({share:.1%})."
    )
    docs = """
## What it measures
In steps with which an epoch begins: the part of the wait for data in which the loader started,
and the wait for its first batch; shared by all steps of the run. The records say where an epoch
began, so that short starts count, too; in those of earlier versions a start is what takes half a
millisecond and more beyond the fetches.

## Why it matters
Loader processes that end with each epoch are started anew: they import, open files and lose what
they had cached. With small data sets an epoch is a few steps.

## What to try
Persistent loader processes; longer epochs.

## False alarms
Also persistent processes begin an epoch with an empty queue, so that the first batch is waited
for. In a run of large epochs the share is small.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the cost with the step."""
        count, cost_ms = measured.num_loader_starts, measured.loader_start_cost_ms
        start_ms = measured.loader_start_ms
        if count is None or cost_ms is None or not measured.step_mean_ms:
            return self.not_evaluated("nothing watched the loader", RECORD_LOADER)
        if measured.num_workers == 0:
            return self.not_evaluated(_STARTS_NONE)
        if not count or start_ms is None:
            return self._none_seen(measured)
        share = cost_ms / measured.step_mean_ms
        severity = self.grade(share)
        if severity is None:
            return None
        switch = persistent_workers(measured)
        source = measured.source("loader_start_ms")
        return self.finding(
            severity,
            {"count": count, "start_ms": start_ms, "cost_ms": cost_ms, "share": share},
            (
                row("starts of the loader / step", share, "share", self.at_note, source),
                row("one start with its first batch", start_ms, "ms", None, source),
            ),
            (switch or Advice(text=_LONGER, verify=verify("no epoch-start-slow")),),
            cost_ms_per_step=cost_ms,
        )

    def _none_seen(self, measured: Measurements) -> NotEvaluated:
        """Where records do not tell, only processes that end with an epoch show that it began."""
        if measured.are_loader_starts_told:
            return self.not_evaluated(_NO_SECOND, "train for two epochs")
        ends_with_epoch = measured.loader_setting("persistent_workers") == 0
        reason = say(_NONE_SEEN, least_ms=LEAST_START_MS)
        return self.not_evaluated(reason, "train for two epochs" if ends_with_epoch else None)
