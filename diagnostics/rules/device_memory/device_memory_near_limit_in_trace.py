"""GM201: a GPU was almost full while a profiler trace was recorded."""

from dataclasses import replace
from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.device_memory.memory_advice import SIGN, device_memory_advice
from diagnostics.rules.evidence_row import row
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU
from diagnostics.rules.rule import Outcome, Rule, Threshold
from diagnostics.rules.trace_rule import NO_DEVICE, VERIFY

GIB = 1 << 30
KNOWN_BY_FACTS = "rule GM001 judges the same by the whole run's own record"
NO_MEMORY_EVENTS = "no profiler trace tells how much memory of a GPU was in use"
NO_TOTAL = "the trace does not say how much memory its GPU has"
CONTRADICTORY = "the trace says that more was in use than its GPU has: one of the two is wrong"
RECORD_MEMORY = "train with --profile and PROFILING.PROFILE_MEMORY: true, and give the trace"
RECORD_MEMORY_OF_LOOP = (
    "record some steps with `record(..., profile=True, profile_memory=True)`, and give the trace"
)
RECORD_MEMORY_ANYWHERE = "record the trace with `torch.profiler.profile(..., profile_memory=True)`"


class DeviceMemoryNearLimitInTrace(Rule):
    """Peak use of GPU memory by the trace's own count, against what the GPU has."""

    code = "GM201"
    name = "device-memory-near-limit-in-trace"
    reads_trace: ClassVar[bool] = True
    summary = (
        "While the trace was recorded, PyTorch used up to {share:.1%} of GPU {device}'s memory "
        "({peak_gib:.1f} of {total_gib:.1f} GiB)."
    )
    docs = """
## What it measures
The most that PyTorch's allocator had reserved on the fullest GPU while a trace was recorded with
`profile_memory=True`, as a share of that GPU's memory. Both are in the trace itself.

## Why it matters
The next larger input, often the first validation at full size, ends the run; an allocator that is
short of memory gives back and asks again, and each time the GPU waits.

## What to try
Mixed precision, activation checkpointing, a smaller batch with more accumulation, a smaller crop.
The loader's workers and cache use the machine's memory and do nothing here.

## False alarms
PyTorch keeps freed blocks: where tensors held much less than was reserved, the GPU may be well
filled and no more. A trace shows a few steps; a run's own record shows all, and is judged instead
(GM001) where there is one.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the peak with the GPU's memory, where facts have not done so."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if measured.device_memory_peak_bytes is not None and measured.device_memory_total_bytes:
            return self.not_evaluated(KNOWN_BY_FACTS)
        reserved, allocated = measured.traced_reserved_bytes, measured.traced_allocated_bytes
        peak = max(reserved or 0, allocated or 0)
        if measured.traced_device is None or not peak:
            return self._without_memory(measured)
        total = measured.traced_total_bytes
        if not total:
            return self.not_evaluated(NO_TOTAL)
        if peak > total:
            return self.not_evaluated(CONTRADICTORY)
        share = peak / total
        severity = self.grade(share)
        if severity is None:
            return None
        source = measured.traced_file
        sign = say(VERIFY, sign=SIGN)
        return self.finding(
            severity,
            {
                "share": share,
                "device": measured.traced_device,
                "peak_gib": peak / GIB,
                "total_gib": total / GIB,
            },
            (
                row("peak GPU memory / GPU", share, "share", self.at_warn, source),
                row("reserved by PyTorch at most", reserved, "bytes", None, source),
                row("held by tensors at most", allocated, "bytes", None, source),
            ),
            tuple(replace(item, verify=sign) for item in device_memory_advice(measured)),
            cost_bytes=int(peak - self.at_warn.value * total),
        )

    def _without_memory(self, measured: Measurements) -> Outcome:
        if measured.in_trace is not None and not measured.in_trace.has_device:
            return self.not_evaluated(NO_DEVICE)
        if measured.is_own_loop:
            return self.not_evaluated(NO_MEMORY_EVENTS, RECORD_MEMORY_OF_LOOP)
        if measured.is_trainer_unknown:
            return self.not_evaluated(NO_MEMORY_EVENTS, RECORD_MEMORY_ANYWHERE)
        return self.not_evaluated(NO_MEMORY_EVENTS, RECORD_MEMORY)
