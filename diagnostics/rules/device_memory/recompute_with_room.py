"""GM005: activations are computed twice although the GPU has room to keep them."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import DEVICE_MEMORY, Advice, ConfigChange, Gain, Severity
from diagnostics.rules.launch_command import configuration_words
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU, RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold

_KEEP = (
    "Keep the activations of the {what} instead of computing them again; the forecast says first "
    "whether they fit."
)
_OWN = "Keep more activations: checkpoint fewer blocks, the cheap ones to keep first."
_PARTS = (
    ("MODEL.VRT.USE_CHECKPOINT_FFN", "feed-forward layers"),
    ("MODEL.VRT.USE_CHECKPOINT_ATTN", "attention"),
)
"""In this order: the attention's activations need more memory than those of the layers."""
_FORECAST = "python diagnose_memory.py --config"


class RecomputeWithRoom(Rule):
    """Time for recomputation, on a GPU that is half empty."""

    code = "GM005"
    name = "recompute-with-room"
    summary = (
        "Activations are computed again for {recompute_ms:.1f} ms of each step ({share:.1%}), "
        "while at most {memory:.0%} of the GPU's memory is in use."
    )
    docs = """
## What it measures
The time that the backward spends on computing activations again, against the step; and the
largest use of the GPU's memory.

## Why it matters
Activation checkpointing buys memory with time. Memory that stays empty was bought for nothing.

## What to try
Switch it off for one part of the blocks at a time, and look at the forecast before each.

## False alarms
A run at a small crop that will grow needs the memory later. Recomputation inside compiled stages
is not seen.
"""
    at_note: ClassVar[Threshold]
    room: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare both shares."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        again_ms, step_ms = measured.recompute_ms, measured.step_ms
        peak, total = measured.device_memory_peak_bytes, measured.device_memory_total_bytes
        if again_ms is None or not step_ms or peak is None or not total:
            return self.not_evaluated("recomputation or GPU memory was not recorded", RECORD_FACTS)
        share, memory = again_ms / step_ms, peak / total
        if share < self.at_note.value or memory > self.room.value:
            return None
        return self.finding(
            Severity.NOTE,
            {"recompute_ms": again_ms, "share": share, "memory": memory},
            (
                row(
                    "recomputation / step",
                    share,
                    "share",
                    self.at_note,
                    measured.source("stage_ms"),
                ),
                row(
                    "peak GPU memory / GPU",
                    memory,
                    "share",
                    self.room,
                    measured.source("device_memory_peak_bytes"),
                ),
            ),
            (_advice(measured, again_ms),),
            cost_ms_per_step=again_ms,
        )


def _advice(measured: Measurements, again_ms: float) -> Advice:
    gain = Gain(low_ms=0.0, mid_ms=None, high_ms=again_ms)
    for key, what in _PARTS:
        if measured.setting(key) is True:
            config = configuration_words(measured.launch, [f"{key}=false"])
            return Advice(
                text=say(_KEEP, what=what),
                config_change=ConfigChange(key=key, current=True, proposed=False),
                predicted_gain=gain,
                verify=f"{_FORECAST} {config}",
                towards=(DEVICE_MEMORY, "more"),
            )
    return Advice(text=_OWN, predicted_gain=gain, towards=(DEVICE_MEMORY, "more"))
