"""GP004: heat or a fault holds the GPU's clock back."""

from typing import ClassVar

from diagnostics.language import listed, say
from diagnostics.rules.device_use.clock_cost import clock_evidence, cost_of_clock
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import GPU_NOT_SAMPLED, NOT_ON_CPU, RECORD_NVML, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

FAULTS = (
    "thermal, by driver",
    "thermal, by hardware",
    "hardware slowdown",
    "power brake",
    "board limit",
    "reliability",
)
"""Reasons that a healthy and cool GPU does not have."""
_ADVICE = (
    "Have its cooling and power looked at: fans, dust, the rack's air, the power cable. "
    "`nvidia-smi -q -d PERFORMANCE,TEMPERATURE` on the machine names the limit that is met."
)


class GpuThrottled(Rule):
    """Samples in which the driver said that heat, power supply or a fault lowered the clock."""

    code = "GP004"
    name = "gpu-throttled"
    explains = ("KN003", "CF001", "CF004", "CM001")
    summary = (
        "The GPU lowered its clock for {share:.1%} of the time: {reasons} (up to {temperature}, "
        "mean clock {clock})."
    )
    docs = """
## What it measures
The driver's reasons for a lowered clock in each sample: heat (as the driver or the hardware
sees it), a slowdown by the hardware, the power brake, limits of the board and its reliability.

## Why it matters
Every kernel takes longer by the ratio of the clocks, and no setting of the training changes it.
With several GPUs all ranks wait for the hot one.

## What to try
Cooling, power supply, a lower power limit that heats less.

## False alarms
Single samples at the start are the driver finding its place. A cap on power is another matter
(rule GP005).
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the most frequent of these reasons with the limits."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if not measured.num_gpu_samples:
            return self.not_evaluated(GPU_NOT_SAMPLED, RECORD_NVML)
        found = {n: measured.throttle_share[n] for n in FAULTS if n in measured.throttle_share}
        share = max(found.values(), default=0.0)
        severity = self.grade(share)
        if severity is None:
            return None
        heat, clock = measured.gpu_temperature_peak_c, measured.sm_clock_mean_mhz
        source = measured.source("throttle_share")
        return self.finding(
            severity,
            {
                "share": share,
                "reasons": listed(found),
                "temperature": "unknown" if heat is None else say("{heat:.0f} C", heat=heat),
                "clock": "unknown" if clock is None else say("{clock:.0f} MHz", clock=clock),
            },
            (
                *(row(name, each, "share", self.at_warn, source) for name, each in found.items()),
                *clock_evidence(measured),
            ),
            (Advice(text=_ADVICE, verify=verify("no gpu-throttled")),),
            cost_ms_per_step=cost_of_clock(measured),
        )
