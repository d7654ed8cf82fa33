"""HM004: the machine reads memory back from swap."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.host_memory.memory_advice import host_memory_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_SAMPLED, RECORD_MACHINE
from diagnostics.rules.rule import Outcome, Rule, Threshold

MIB = 1 << 20


class MemoryReadFromSwap(Rule):
    """Bytes that come back from swap while the run trains."""

    code = "HM004"
    name = "memory-read-from-swap"
    explains = ("CF006", "MA005")
    summary = (
        "The machine reads {rate_mib:.1f} MiB/s back from swap: memory that the run needs lies on "
        "a disk."
    )
    docs = """
## What it measures
What the kernel read back from swap over the run, for each second.

## Why it matters
A page that has to come from a disk takes a thousand times longer than one in memory. Whoever
touches it stands still, the trainer included, and the next shortage ends a process.

## What to try
What lowers host memory: a smaller cache, fewer loader processes, less prefetching; other programs
elsewhere.

## False alarms
Pages of other programs that were put aside long ago may come back while the run trains. Swap that
is merely occupied costs nothing, and is no finding.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the rate with the limits."""
        rate = measured.swap_in_bytes_per_s
        if rate is None:
            return self.not_evaluated(NOT_SAMPLED, RECORD_MACHINE)
        severity = self.grade(rate / MIB)
        if severity is None:
            return None
        source = measured.source("swap_in_bytes_per_s")
        return self.finding(
            severity,
            {"rate_mib": rate / MIB},
            (
                row("read back from swap, MiB/s", rate / MIB, "", self.at_warn, source),
                row("swap in use, most", measured.swap_used_bytes, "bytes", None, source),
            ),
            host_memory_advice(measured),
            cost_bytes=measured.swap_used_bytes,
        )
