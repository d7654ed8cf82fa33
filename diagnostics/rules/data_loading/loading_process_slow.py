"""DL005: one loading process is slower than the others."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_LOADER, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "Batches are handed out in order, so that all wait for this process. See what is different for "
    "it: samples that are larger (shuffle them), a file on a slower disk, a core that it shares."
)


class LoadingProcessSlow(Rule):
    """The slowest loading process of a rank against the others."""

    code = "DL005"
    name = "loading-process-slow"
    explains = ("CF005",)
    summary = (
        "Loading process {which} takes {slow_ms:.1f} ms for a batch, {ratio:.1f} times as long as "
        "the others."
    )
    docs = """
## What it measures
The mean time that each loading process takes for a batch; the slowest against the median of the
other processes of its rank, of which there must be two.

## Why it matters
The loader hands batches out in their order. One slow process delays every n-th batch, and the
others' finished batches wait behind it.

## What to try
The same work for all processes; a look at what the slow one reads.

## False alarms
With few batches for each process the samples decide. Without a wait for data it costs nothing and
is a note.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    wait_share: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the ratio with the limits."""
        ratio, slow_ms = measured.slowest_loader_ratio, measured.slowest_loader_ms
        if ratio is None or slow_ms is None:
            few = measured.made_ms is not None
            return self.not_evaluated(
                "fewer than three loading processes of a rank were timed",
                None if few else RECORD_LOADER,
            )
        severity = self.grade(ratio)
        if severity is None:
            return None
        wait_ms, step_ms = measured.data_wait_exposed_ms, measured.step_ms
        share = wait_ms / step_ms if wait_ms is not None and step_ms else None
        waits = share is not None and share >= self.wait_share.value
        source = measured.source("slowest_loader_ratio")
        return self.finding(
            severity if waits else Severity.NOTE,
            {"which": measured.slowest_loader, "slow_ms": slow_ms, "ratio": ratio},
            (
                row("slowest / other loading processes", ratio, "", self.at_note, source),
                row("exposed data wait / step", share, "share", self.wait_share),
            ),
            (Advice(text=_ADVICE, verify=verify("no loading-process-slow")),),
            cost_ms_per_step=_cost_ms(measured, slow_ms, ratio) if waits else None,
        )


def _cost_ms(measured: Measurements, slow_ms: float, ratio: float) -> float:
    """What it takes longer, once in as many batches as there are processes; at most the wait."""
    passes, processes = measured.micro_batches or 1.0, measured.loaders_per_rank or 3.0
    longer_ms = slow_ms * (1 - 1 / ratio) * passes / processes
    return min(measured.data_wait_exposed_ms or 0.0, longer_ms)
