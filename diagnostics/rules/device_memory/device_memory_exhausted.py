"""GM002: an allocation on the GPU failed."""

from typing import ClassVar

from diagnostics.rules.device_memory.failure_advice import failure_advice, failure_evidence
from diagnostics.rules.finding import Evidence
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NO_WORD_OF_THE_END, NOT_ON_CPU, RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold


class DeviceMemoryExhausted(Rule):
    """CUDA out of memory."""

    code = "GM002"
    name = "device-memory-exhausted"
    explains = ("GM001", "GM201")
    summary = "The GPU ran out of memory {count} time(s) in this run (CUDA out of memory)."
    docs = """
## What it measures
Failed allocations on a GPU, as the run recorded them, and the figures of the message: what was
asked for, what was free, what PyTorch held unused, what other processes held.

## Why it matters
The step, and usually the run, ended there. This is the memory of the GPU, not of the machine.

## What to try
What was asked for tells size from fragmentation: less than what PyTorch held unused is
fragmentation alone, for which there is an allocator setting; less than that and what was free
together is nearly a matter of size. For size: mixed precision, activation checkpointing, a smaller
batch with more accumulation, a smaller crop. A smaller cache and fewer loader processes do nothing
for it.

## False alarms
An out-of-memory that only the first full-size validation meets asks for a smaller VAL_CROP_SIZE,
not for a smaller training batch.
"""
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Count the events."""
        count = measured.num_device_oom
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if count is None:
            return self.not_evaluated(NO_WORD_OF_THE_END, RECORD_FACTS)
        severity = self.grade(count)
        if severity is None:
            return None
        return self.finding(
            severity,
            {"count": count},
            (
                Evidence(
                    metric="GPU out-of-memory events",
                    value=count,
                    unit="count",
                    limit=self.at_critical.value,
                    source=measured.source("num_device_oom"),
                ),
                Evidence(
                    metric="peak GPU memory",
                    value=measured.device_memory_peak_bytes,
                    unit="bytes",
                    limit=measured.device_memory_total_bytes,
                    source=measured.source("device_memory_peak_bytes"),
                ),
                *failure_evidence(measured),
            ),
            failure_advice(measured),
            cost_bytes=measured.device_memory_peak_bytes,
        )
