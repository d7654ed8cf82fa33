"""GM003: tensors on the GPU hold more memory step by step."""

from itertools import islice
from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import ALLOCATOR_UNKNOWN, NOT_ON_CPU, RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold
from diagnostics.rules.steady_growth import AHEAD, growth_ahead_bytes

MIB = 1 << 20
MAX_ROWS = 8
"""Ranks with a row of their own, the steepest."""
_ADVICE = (
    "Something keeps tensors from step to step. Look for losses or outputs that are collected with "
    "their graph (keep `loss.detach()`), for lists of features, and for hooks that hold what they "
    "saw; a memory snapshot (PROFILING.MEMORY_HISTORY) names the lines that allocated it."
)
_OWN_ADVICE = (
    "Something keeps tensors from step to step. Look for losses or outputs that are collected with "
    "their graph (keep `loss.detach()`), for lists of features, and for hooks that hold what they "
    "saw; `record(memory_history=100000)` names the lines that allocated it."
)


class DeviceMemoryGrowing(Rule):
    """The slope of what tensors hold at the end of each step."""

    code = "GM003"
    name = "device-memory-growing"
    explains = ("GM001", "GM002", "GM201")
    is_leak = True
    summary = (
        "Tensors on the GPU{holder} hold {mib_per_step:.2f} MiB more with each step: "
        "{rise_mib:.0f} MiB from step {first:.0f} to {last:.0f}."
    )
    docs = """
## What it measures
What PyTorch's allocator had given out at the end of each step, where it rises steadily; the start,
rises at once and what is given back again are left out. Rate, rise and beginning are those of one
stretch: from where the growth begins to the end. It is judged by what that rate makes over 1,000
steps, or over the run if that is longer.

## Why it matters
At the end of a step only weights, gradients and the optimizer's state should be left. What grows
beside them ends in CUDA out of memory, after hours.

## What to try
Find who keeps the tensors: a memory snapshot shows the allocating lines.

## False alarms
Crops that grow with the epochs need more memory in each stage; then the course has steps instead
of a slope. Warm-up that takes as long as the whole run looks like growth.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    least_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Judge the slope by its rise over the run."""
        slope = measured.device_memory_growth_bytes_per_step
        steps = measured.device_memory_course_steps
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if slope is None or steps is None:
            return self.not_evaluated(ALLOCATOR_UNKNOWN, RECORD_FACTS)
        if steps < self.least_steps.value:
            return self.not_evaluated(
                say("GPU memory was followed over {steps} steps only", steps=steps), "train longer"
            )
        first, last = measured.device_memory_growth_steps or (0, steps)
        rise, ahead = slope * (last - first), growth_ahead_bytes(slope, steps)
        if ahead < self.at_note.value * MIB:
            return None
        left = _steps_to_limit(measured, slope)
        soon = left is not None and measured.steps_left is not None and left < measured.steps_left
        grows = Severity.WARN if ahead >= self.at_warn.value * MIB else Severity.NOTE
        source = measured.source("device_memory_growth_bytes_per_step")
        return self.finding(
            Severity.CRITICAL if soon else grows,
            {"mib_per_step": slope / MIB, "rise_mib": rise / MIB}
            | {"first": first, "last": last, "holder": _holder(measured)},
            (
                row("growth", slope, "bytes/step", None, source),
                *(
                    row(say("growth of {holder}", holder=holder), each, "bytes/step", None, source)
                    for holder, each in islice(measured.device_memory_growth_of.items(), MAX_ROWS)
                    if len(measured.device_memory_growth_of) > 1
                ),
                row(AHEAD, int(ahead), "bytes", self.at_note.value * MIB, source),
                row("steps until the GPU is full", left, "count", measured.steps_left, source),
            ),
            (
                Advice(
                    text=_OWN_ADVICE if measured.is_own_loop else _ADVICE,
                    verify=verify("no device-memory-growing"),
                ),
            ),
            cost_bytes=int(rise),
        )


def _holder(measured: Measurements) -> str:
    """The rank whose tensors grow most, and how many others' do."""
    growing = measured.device_memory_growth_of
    if not growing:
        return ""
    steepest, others = next(iter(growing)), len(growing) - 1
    if not others:
        return say(" of {holder}", holder=steepest)
    return say(" of {holder} (and of {others} more rank(s))", holder=steepest, others=others)


def _steps_to_limit(measured: Measurements, slope: float) -> int | None:
    peak, total = measured.device_memory_peak_bytes, measured.device_memory_total_bytes
    if peak is None or total is None or slope <= 0:
        return None
    return int(max(0, total - peak) / slope)
