"""GM001: a GPU is almost full."""

from typing import ClassVar

from diagnostics.rules.device_memory.memory_advice import device_memory_advice
from diagnostics.rules.finding import Evidence
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU, RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold

GIB = 1 << 30


class DeviceMemoryNearLimit(Rule):
    """Peak use of GPU memory against what the GPU has."""

    code = "GM001"
    name = "device-memory-near-limit"
    summary = (
        "GPU memory reached {share:.1%} ({peak_gib:.1f} of {total_gib:.1f} GiB); {retries} "
        "allocation(s) had to be retried."
    )
    docs = """
## What it measures
The largest use of the fullest GPU as a share of its memory, and how often PyTorch's allocator had
to give its cached blocks back before an allocation succeeded.

## Why it matters
A retried allocation synchronises the GPU and costs time; the next larger input, often the first
validation at full size, ends the run.

## What to try
Mixed precision, activation checkpointing, a smaller batch with more accumulation, a smaller crop.
The loader's workers and cache use the machine's memory and do nothing here; accumulation saves
nothing when the batch is already 1.

## False alarms
PyTorch keeps freed blocks, so the driver shows more than tensors need. A high share without
retries and without growth can be a well filled GPU.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the peak with the GPU's memory."""
        peak, total = measured.device_memory_peak_bytes, measured.device_memory_total_bytes
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if peak is None or not total:
            return self.not_evaluated("GPU memory was not recorded", RECORD_FACTS)
        share = peak / total
        severity = self.grade(share)
        if severity is None:
            return None
        retries = measured.device_alloc_retries
        source = measured.source("device_memory_peak_bytes")
        return self.finding(
            severity,
            {
                "share": share,
                "peak_gib": peak / GIB,
                "total_gib": total / GIB,
                "retries": "unknown" if retries is None else retries,
            },
            (
                Evidence(
                    metric="peak GPU memory / GPU",
                    value=share,
                    unit="share",
                    limit=self.at_warn.value,
                    source=source,
                ),
                Evidence(
                    metric="allocation retries",
                    value=retries,
                    unit="count",
                    source=measured.source("device_alloc_retries"),
                ),
            ),
            device_memory_advice(measured),
            cost_bytes=int(peak - self.at_warn.value * total),
        )
