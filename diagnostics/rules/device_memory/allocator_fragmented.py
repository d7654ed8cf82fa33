"""GM004: the allocator holds GPU memory that no tensor can use."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import ALLOCATOR_UNKNOWN, NOT_ON_CPU, RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

GIB = 1 << 30
_ADVICE = (
    "Let blocks grow instead of splitting them: start the run with "
    "PYTORCH_ALLOC_CONF=expandable_segments:True in its environment (before PyTorch 2.9 the name "
    "is PYTORCH_CUDA_ALLOC_CONF), and keep shapes from changing between steps."
)


class AllocatorFragmented(Rule):
    """Reserved memory beside what tensors hold, where the GPU is short of it."""

    code = "GM004"
    name = "allocator-fragmented"
    summary = (
        "PyTorch's allocator holds up to {unused_gib:.2f} GiB beside what tensors need "
        "({share:.0%} of what it reserved, {split_gib:.2f} GiB of it in split blocks); {retries} "
        "allocation(s) had to be retried."
    )
    docs = """
## What it measures
The most that the allocator had reserved at the end of a step beside what tensors held, the part
of it in split blocks, and how often an allocation needed all free blocks to be given back first.

## Why it matters
A retry waits for the GPU and frees everything: that step is slow. Memory in split blocks cannot
be given back at all; a large request fails although enough is free in sum.

## What to try
Expandable segments, and shapes that stay the same (one crop size, full batches).

## False alarms
At the end of a step activations are gone, so that much is free by nature: without a retry, and
with room on the GPU, the finding is left out.
"""
    unused: ClassVar[Threshold]
    full: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Retries, or much unused memory in split blocks on a full GPU."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        unused, reserved = measured.device_unused_bytes, measured.device_reserved_bytes
        retries = measured.device_alloc_retries
        if unused is None or not reserved or retries is None:
            return self.not_evaluated(ALLOCATOR_UNKNOWN, RECORD_FACTS)
        split = measured.device_split_bytes or 0
        share = unused / reserved
        fragmented = split / reserved >= self.unused.value and self._is_full(measured)
        if not retries and not fragmented:
            return None
        source = measured.source("device_unused_bytes")
        return self.finding(
            Severity.WARN if retries else Severity.NOTE,
            {
                "unused_gib": unused / GIB,
                "share": share,
                "split_gib": split / GIB,
                "retries": retries,
            },
            (
                row("reserved beside tensors / reserved", share, "share", self.unused, source),
                row("split blocks / reserved", split / reserved, "share", self.unused, source),
                row("allocation retries", retries, "count", 1, source),
            ),
            (Advice(text=_ADVICE, verify=verify("no allocation retried")),),
            cost_bytes=unused,
        )

    def _is_full(self, measured: Measurements) -> bool:
        peak, total = measured.device_memory_peak_bytes, measured.device_memory_total_bytes
        return peak is not None and bool(total) and peak / (total or 1) >= self.full.value
