"""GP005: a setting, or the power limit, keeps the GPU's clock low."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.device_use.clock_cost import clock_evidence, cost_of_clock
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import GPU_NOT_SAMPLED, NOT_ON_CPU, RECORD_NVML, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

POWER = "power cap"
SETTINGS = ("application clocks", "display clocks", "sync boost")
_ADVICE = {
    POWER: "The GPU works at its power limit ({power}). `nvidia-smi -q -d POWER` shows whether the "
    "limit is below what the card allows; whoever owns the machine may raise it.",
    "application clocks": "The clock was set by hand: `nvidia-smi -q -d CLOCK` shows to what, and "
    "`nvidia-smi -rac` or `-rgc` takes it back, if the machine's owner agrees.",
    "display clocks": "A display holds the clock: let another GPU drive it.",
    "sync boost": "The GPUs share one clock (sync boost): the slowest sets it.",
}


class GpuClockLimited(Rule):
    """A clock clearly below the highest one seen, by power or by a setting."""

    code = "GP005"
    name = "gpu-clock-limited"
    summary = (
        "The GPU's clock was limited by {reason} for {share:.0%} of the time: {mean:.0f} MHz on "
        "average, {peak:.0f} at most."
    )
    docs = """
## What it measures
The driver's reasons for a limited clock (power cap, clocks set by hand, display, sync boost) and
the mean clock against the highest one of the run.

## Why it matters
Kernels take longer by the ratio of the clocks. A limit that someone set for another job is easily
forgotten.

## What to try
What `nvidia-smi -q -d POWER,CLOCK` names: the owner of the machine can change it.

## False alarms
A large GPU under full load meets its power limit by design, and loses a few percent of its
clock. Therefore it is never more than a note.
"""
    often: ClassVar[Threshold]
    clock: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """A frequent reason, and a low clock; a clock set by hand counts at any height."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        mean, peak = measured.sm_clock_mean_mhz, measured.sm_clock_peak_mhz
        if not measured.num_gpu_samples or mean is None or not peak:
            return self.not_evaluated(GPU_NOT_SAMPLED, RECORD_NVML)
        shares = {name: measured.throttle_share.get(name, 0.0) for name in (POWER, *SETTINGS)}
        reason = max(shares, key=lambda name: shares[name])
        low = mean / peak < self.clock.value
        if shares[reason] < self.often.value or (reason == POWER and not low):
            return None
        watts = measured.gpu_power_share
        power = "unknown" if watts is None else say("{share:.0%} of it on average", share=watts)
        return self.finding(
            Severity.NOTE,
            {"reason": reason, "share": shares[reason], "mean": mean, "peak": peak},
            (
                row(reason, shares[reason], "share", self.often, measured.source("throttle_share")),
                *clock_evidence(measured),
            ),
            (
                Advice(
                    text=say(_ADVICE[reason], power=power),
                    verify=verify("the clock near its highest value"),
                ),
            ),
            cost_ms_per_step=cost_of_clock(measured),
        )
