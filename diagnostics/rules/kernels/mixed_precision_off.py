"""KN002: the GPU computes in 32 bits."""

from typing import ClassVar

from diagnostics.rules.finding import Evidence, Severity
from diagnostics.rules.kernels.compute_advice import mixed_precision
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, device_unknown
from diagnostics.rules.rule import Outcome, Rule, Threshold

COMPUTE = ("forward", "loss", "backward")


class MixedPrecisionOff(Rule):
    """Compute dominates the step and AMP is off on a GPU with tensor cores."""

    code = "KN002"
    name = "mixed-precision-off"
    for_our_trainer = True
    summary = (
        "Forward, loss and backward take {share:.1%} of the step and run in 32 bits on a GPU that "
        "has tensor cores for 16."
    )
    docs = """
## What it measures
The switch TRAIN.AMP_ENABLED of the run, beside the share of the step that it could make cheaper.

## Why it matters
Tensor cores multiply 16-bit numbers several times faster than 32-bit ones, and half the bytes
move through memory.

## What to try
Switch it on. With bfloat16 (TRAIN.AMP_DTYPE) no loss scaling is needed; with float16 watch for
NaN.

## False alarms
A run that is 32-bit on purpose, for a comparison. GPUs before compute capability 7.0 have no
tensor cores and are left alone. How much is won is not predicted: it depends on how much of the
work is matrix products.
"""
    at_warn: ClassVar[Threshold]
    tensor_cores: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Off, on a GPU that could, and worth it."""
        enabled = measured.setting("TRAIN.AMP_ENABLED")
        phases = [measured.phase_share(phase) for phase in COMPUTE]
        known = [share for share in phases if share is not None]
        if measured.device == "cpu":
            return self.not_evaluated("this run was on the CPU, where the trainer uses no AMP")
        if measured.device is None:
            return self.not_evaluated(device_unknown("mixed precision"), RECORD_FACTS)
        if enabled is None:
            return self.not_evaluated("the run's configuration is unknown", RECORD_FACTS)
        if enabled is True or not self._has_tensor_cores(measured):
            return None
        if not known:
            return self.not_evaluated("no phase was measured", RECORD_FACTS)
        share = sum(known)
        if share < self.at_warn.value:
            return None
        return self.finding(
            Severity.WARN,
            {"share": share},
            (
                Evidence(
                    metric="forward + loss + backward / step",
                    value=share,
                    unit="share",
                    limit=self.at_warn.value,
                    source=measured.source("phase_ms"),
                ),
            ),
            tuple(item for item in (mixed_precision(measured),) if item is not None),
        )

    def _has_tensor_cores(self, measured: Measurements) -> bool:
        capability = measured.compute_capability
        return capability is None or capability >= self.tensor_cores.value
