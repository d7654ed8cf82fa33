"""DL201: the training process makes its batches itself."""

import math
from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.data_loading.exposed_wait import NO_WAIT, exposed_wait
from diagnostics.rules.data_loading.worker_advice import (
    SIGN,
    gain_of_more_workers,
    more_workers,
    worker_change,
)
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NO_STEPS, RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

NO_WORKERS_KNOWN = "the input does not say how many loader processes there were"
ENOUGH = (
    "Let {workers} loader process(es) make the batches: one batch takes {batch_ms:.1f} ms, the "
    "rest of the step {busy_ms:.1f} ms, so {least} (keeps|keep) up and one is to spare."
)


class LoaderInTrainingProcess(Rule):
    """No loader process, and a step that waits for its batch."""

    code = "DL201"
    name = "loader-in-training-process"
    explains = ("DL001", "GP201", "GP001", "CF001")
    summary = (
        "The training process makes each batch itself (num_workers 0) and does nothing else "
        "meanwhile: {wait_ms:.1f} of {step_ms:.1f} ms ({share:.1%})."
    )
    docs = """
## What it measures
Whether batches are made by the process that trains, from the run's settings or from the name of
the iterator in a trace, and the share of the step that waits for them.

## Why it matters
Without loader processes nothing is read or decoded while the device works. All of that time can
be hidden behind the device's work by processes that work ahead.

## What to try
Loader processes. How many keep up follows from the time that one batch takes and the time of the
rest of the step; the report computes it where it knows both.

## False alarms
Debuggers and some small machines need num_workers 0. Below the limit the batches are made fast
enough not to matter.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Hold the wait against the step, where there are no loader processes."""
        if not measured.step_ms:
            return self.not_evaluated(NO_STEPS, RECORD_FACTS)
        if measured.num_workers is None:
            return self.not_evaluated(NO_WORKERS_KNOWN, RECORD_FACTS)
        if measured.num_workers:
            return None
        found = exposed_wait(measured)
        if found is None:
            return self.not_evaluated(NO_WAIT, RECORD_FACTS)
        wait_ms, field = found
        share = wait_ms / measured.step_ms
        severity = self.grade(share)
        if severity is None:
            return None
        return self.finding(
            severity,
            {"wait_ms": wait_ms, "step_ms": measured.step_ms, "share": share},
            (
                row("loader processes", 0, "count", None, measured.source("num_workers")),
                row(
                    "exposed data wait / step", share, "share", self.at_note, measured.source(field)
                ),
            ),
            (_advice(measured, wait_ms, measured.step_ms),),
            cost_ms_per_step=wait_ms,
        )


def _advice(measured: Measurements, wait_ms: float, step_ms: float) -> Advice:
    """As many as the cores allow where they are known, else as many as the times ask for."""
    known = more_workers(measured, wait_ms, step_ms)
    if known is not None:
        return known
    busy_ms = max(step_ms - wait_ms, 1e-3)
    batch_ms = max(wait_ms, measured.data_wait_ms or 0.0)
    least = max(1, math.ceil(batch_ms / busy_ms))
    workers = least + 1
    room = measured.cpus_allowed is None or workers < measured.cpus_allowed
    return Advice(
        text=say(ENOUGH, workers=workers, batch_ms=batch_ms, busy_ms=busy_ms, least=least),
        config_change=worker_change(measured, workers) if room else None,
        predicted_gain=gain_of_more_workers(wait_ms, step_ms, 0, workers),
        verify=verify(SIGN),
    )
