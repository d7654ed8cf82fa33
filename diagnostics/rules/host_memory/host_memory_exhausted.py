"""HM003: the run met the end of host memory."""

from typing import ClassVar

from diagnostics.rules.finding import Evidence, Severity
from diagnostics.rules.host_memory.memory_advice import host_memory_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NO_WORD_OF_THE_END, RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold, graded


class HostMemoryExhausted(Rule):
    """An allocation that failed on the host, or a loader process that the system killed."""

    code = "HM003"
    name = "host-memory-exhausted"
    explains = ("HM001",)
    summary = "Host memory ran out {count} time(s) in this run."
    docs = """
## What it measures
Failed allocations on the host and loader processes killed by the system, as the run recorded
them.

## Why it matters
The run ended, or lost a part of itself. This is the memory of the machine, not of the GPU.

## What to try
A smaller cache, fewer loader processes, less prefetching. In a GPU run, batch size and gradient
accumulation do nothing here; in a CPU run the batch is in this memory, too.

## False alarms
None known: the event is recorded where it happens. A process killed from outside leaves no event;
then the last samples of host memory tell.
"""
    at_critical: ClassVar = Threshold(
        1, "events", "one is enough to end a run", "the performance guide (out of memory)"
    )

    def check(self, measured: Measurements) -> Outcome:
        """Count the events."""
        count = measured.num_host_oom
        if count is None:
            return self.not_evaluated(NO_WORD_OF_THE_END, RECORD_FACTS)
        severity = graded(count, (self.at_critical, Severity.CRITICAL))
        if severity is None:
            return None
        source = measured.source("num_host_oom")
        return self.finding(
            severity,
            {"count": count},
            (
                Evidence(
                    metric="host out-of-memory events",
                    value=count,
                    unit="count",
                    limit=self.at_critical.value,
                    source=source,
                ),
                Evidence(
                    metric="peak host memory",
                    value=measured.host_memory_peak_bytes,
                    unit="bytes",
                    limit=measured.host_memory_limit_bytes,
                    source=measured.source("host_memory_peak_bytes"),
                ),
            ),
            host_memory_advice(measured),
            cost_bytes=measured.host_memory_peak_bytes,
        )
