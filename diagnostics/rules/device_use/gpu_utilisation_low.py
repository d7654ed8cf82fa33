"""GP001: the GPU is often idle."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.kernels.compute_advice import how_to_trace
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU, RECORD_NVML, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = "See what the GPU waits for: {trace} shows some steps in full."


class GpuUtilisationLow(Rule):
    """NVML utilisation below what a training step should reach."""

    code = "GP001"
    name = "gpu-utilisation-low"
    explains = ("CF001",)
    summary = "The GPU was busy {util:.0f} % of the time while training."
    docs = """
## What it measures
The mean of NVML's utilisation over the run and its GPUs: the share of time in which any kernel
ran.

## Why it matters
An idle GPU is paid for and does nothing. The number is a symptom: it does not say what the GPU
waits for.

## What to try
If the report names data loading as the cause, begin there. If not, record a few steps with
--profile: launches, copies, synchronisation and Python between kernels show in the trace. A
larger batch helps where kernels are tiny.

## False alarms
Validation, checkpoints and the start of a short run count too. A high value does not mean that
the GPU works well: one small kernel keeps it "busy".
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the mean utilisation with the limits."""
        util = measured.gpu_util_percent
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if util is None:
            return self.not_evaluated("GPU utilisation was not sampled", RECORD_NVML)
        if util >= self.at_warn.value:
            return None
        critical = util < self.at_critical.value
        return self.finding(
            Severity.CRITICAL if critical else Severity.WARN,
            {"util": util},
            (
                Evidence(
                    metric="GPU utilisation (NVML)",
                    value=util,
                    unit="percent",
                    limit=(self.at_critical if critical else self.at_warn).value,
                    source=measured.source("gpu_util_percent"),
                ),
                Evidence(
                    metric="exposed data wait",
                    value=measured.data_wait_exposed_ms,
                    unit="ms",
                    source=measured.source("data_wait_exposed_ms"),
                ),
            ),
            (
                Advice(
                    text=say(_ADVICE, trace=how_to_trace(measured)),
                    verify=verify("GPU utilisation above 90 %"),
                ),
            ),
        )
