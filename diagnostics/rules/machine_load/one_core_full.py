"""MA006: one full core sets the pace of a GPU."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.kernels.compute_advice import how_to_trace
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import GPU_NOT_SAMPLED, NOT_ON_CPU, RECORD_NVML, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "One thread works all the time, most likely the training loop itself: {trace} shows whether it "
    "launches kernels, waits in `.item()`, or computes in Python. torch.compile or a larger batch "
    "make fewer launches; other Python work belongs into the loader's processes."
)


class OneCoreFull(Rule):
    """A single busy core on an otherwise idle machine, while the GPU has room."""

    code = "MA006"
    name = "one-core-full"
    explains = ("GP001",)
    summary = (
        "In {share:.0%} of the seconds one core was full and the machine less than half busy, "
        "while the GPU was busy {util:.0f} % of the time."
    )
    docs = """
## What it measures
Seconds in which the fullest core was 95 % busy or more and all cores together less than half,
beside the GPU's utilisation.

## Why it matters
Python runs one thread at a time. When the loop's own thread is full, the GPU waits for launches,
and neither more loader processes nor a faster GPU help.

## What to try
A trace of some steps names what the thread does. Then fewer and larger kernels (compilation, a
larger batch), no synchronisation inside the step, and Python work moved into the loader.

## False alarms
A thread that waits for the GPU by spinning looks full, too: CUDA does so by default while it
synchronises. With a busy GPU the rule stays silent.
"""
    full: ClassVar[Threshold]
    busy: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """A full core, and a GPU with room."""
        share, util = measured.one_core_full_share, measured.gpu_util_percent
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if share is None or util is None:
            return self.not_evaluated(GPU_NOT_SAMPLED, RECORD_NVML)
        if share < self.full.value or util >= self.busy.value:
            return None
        idle_ms = None
        if measured.step_ms:
            waits_ms = measured.data_wait_exposed_ms or 0.0
            idle_ms = max(0.0, measured.step_ms * (1 - util / 100) - waits_ms)
        text = say(_ADVICE, trace=how_to_trace(measured))
        source = measured.source("one_core_full_share")
        return self.finding(
            Severity.WARN if util < self.at_warn.value else Severity.NOTE,
            {"share": share, "util": util},
            (
                row("seconds with one full core", share, "share", self.full, source),
                row(
                    "GPU utilisation (NVML)",
                    util,
                    "percent",
                    self.busy,
                    measured.source("gpu_util_percent"),
                ),
            ),
            (Advice(text=text, verify=verify("GPU utilisation above 90 %")),),
            cost_ms_per_step=idle_ms,
        )
