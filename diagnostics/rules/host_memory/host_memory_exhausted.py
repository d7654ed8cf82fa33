"""HM003: the run met the end of host memory."""

from typing import ClassVar

from diagnostics.rules.finding import Evidence
from diagnostics.rules.host_memory.memory_advice import host_memory_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NO_WORD_OF_THE_END, RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold

_RAN_OUT = "ran out"
_LIKELY = "likely ran out (a loader process was killed, as the kernel's OOM killer does)"


class HostMemoryExhausted(Rule):
    """An allocation that failed on the host, or a loader process that the system killed."""

    code = "HM003"
    name = "host-memory-exhausted"
    explains = ("HM001",)
    summary = "Host memory {surely} {count} time(s) in this run."
    docs = """
## What it measures
Failed allocations on the host, as the run recorded them, and loader processes that ended by
SIGKILL. That is what the kernel sends when memory runs out; it does not tell the process why. Where
the kernel's own count of victims is known and did not rise, somebody else did it, and that is none.

## Why it matters
The run ended, or lost a part of itself. This is the memory of the machine, not of the GPU.

## What to try
A smaller cache, fewer loader processes, less prefetching. In a GPU run, batch size and gradient
accumulation do nothing here; in a CPU run the batch is in this memory, too.

## False alarms
A loader process that a person or another program killed looks the same: compare the peak of host
memory with its limit, and see `dmesg`. A training process that was killed leaves no event at all;
then the last samples of host memory tell.
"""
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Count the events."""
        failed, killed = measured.num_host_oom, measured.num_loaders_killed
        if killed and measured.killer == "not_oom_killer":
            killed = 0
        if failed is None and killed is None:
            return self.not_evaluated(NO_WORD_OF_THE_END, RECORD_FACTS)
        count = failed or killed or 0
        severity = self.grade(count)
        if severity is None:
            return None
        source = measured.source("num_host_oom")
        return self.finding(
            severity,
            {"count": count, "surely": _RAN_OUT if failed else _LIKELY},
            (
                Evidence(
                    metric="host out-of-memory events",
                    value=failed,
                    unit="count",
                    limit=self.at_critical.value,
                    source=source,
                ),
                Evidence(
                    metric="loader processes ended by SIGKILL",
                    value=killed,
                    unit="count",
                    limit=self.at_critical.value,
                    source=measured.source("num_loaders_killed"),
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
