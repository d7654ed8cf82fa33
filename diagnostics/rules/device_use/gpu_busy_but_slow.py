"""GP002: the GPU is full and the training is slow all the same."""

from typing import ClassVar

from diagnostics.language import listed, say
from diagnostics.rules.finding import Evidence, Severity
from diagnostics.rules.kernels.compute_advice import compute_advice, largest_gain
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU, RECORD_FACTS, RECORD_NVML
from diagnostics.rules.rule import Outcome, Rule, Threshold


class GpuBusyButSlow(Rule):
    """High utilisation with a slow forward pass or a low throughput."""

    code = "GP002"
    name = "gpu-busy-but-slow"
    for_our_trainer = True
    explains = ("KN001", "KN003", "CF001")
    summary = (
        "The GPU is busy {util:.0f} % of the time and still trains slowly: {slow}. The work itself "
        "is too much."
    )
    docs = """
## What it measures
Utilisation, together with the throughput and the time of one forward pass.

## Why it matters
When the GPU is busy and the run is slow, neither the loader nor the host is to blame: only less
work, or cheaper work, makes the step shorter.

## What to try
Mixed precision first, then a fused attention, then the switches of the heaviest stage: depth,
window, chunk size. Changes of depth and window need a new training and cost quality; the
validation shows how much.

## False alarms
The limits are the performance guide's, for its network and crop on its GPUs. A larger network or
crop is slow by intention.
"""
    busy: ClassVar[Threshold]
    slow_samples: ClassVar[Threshold]
    slow_forward: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Full, and slow by either limit."""
        util, rate = measured.gpu_util_percent, measured.samples_per_s
        forward_ms = measured.forward_ms_per_pass
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if util is None:
            return self.not_evaluated("GPU utilisation was not sampled", RECORD_NVML)
        if rate is None and forward_ms is None:
            return self.not_evaluated("neither throughput nor forward was measured", RECORD_FACTS)
        slow = []
        if rate is not None and rate < self.slow_samples.value:
            slow.append(say("{rate:.3g} samples/s", rate=rate))
        if forward_ms is not None and forward_ms > self.slow_forward.value:
            slow.append(say("{forward_ms:.0f} ms for a forward pass", forward_ms=forward_ms))
        if util <= self.busy.value or not slow:
            return None
        advice = compute_advice(measured)
        return self.finding(
            Severity.WARN,
            {"util": util, "slow": listed(slow)},
            (
                Evidence(
                    metric="GPU utilisation (NVML)",
                    value=util,
                    unit="percent",
                    limit=self.busy.value,
                    source=measured.source("gpu_util_percent"),
                ),
                Evidence(
                    metric="throughput",
                    value=rate,
                    unit="samples/s",
                    limit=self.slow_samples.value,
                    source=measured.source("samples_per_s"),
                ),
                Evidence(
                    metric="one forward pass",
                    value=forward_ms,
                    unit="ms",
                    limit=self.slow_forward.value,
                    source=measured.source("phase_ms"),
                ),
            ),
            advice,
            cost_ms_per_step=largest_gain(advice),
        )
