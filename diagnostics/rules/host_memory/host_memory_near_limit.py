"""HM001: the machine, or the container, is almost out of memory."""

from typing import ClassVar

from diagnostics.rules.finding import Evidence
from diagnostics.rules.host_memory.cache_budget import GIB
from diagnostics.rules.host_memory.memory_advice import host_memory_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold


class HostMemoryNearLimit(Rule):
    """Peak use of host memory against what the run may use."""

    code = "HM001"
    name = "host-memory-near-limit"
    summary = (
        "Host memory reached {share:.1%} of its limit ({peak_gib:.1f} of {limit_gib:.1f} GiB); at "
        "100 % the system kills the run."
    )
    docs = """
## What it measures
The largest use of host memory during the run, as a share of the machine's memory or of the
container's own limit, whichever is smaller.

## Why it matters
At the limit the system kills a process, often a loader process first: the training ends with a
message about a worker, or with none at all.

## What to try
A smaller cache, fewer loader processes, less prefetching, in this order. None of these helps
against a full GPU, and a smaller batch helps here only when the training runs on the CPU.

## False alarms
Other programs on the machine count too. The page cache does not: memory that the system can give
back at once is not in use.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the peak with the limit."""
        share = measured.host_memory_share
        peak, limit = measured.host_memory_peak_bytes, measured.host_memory_limit_bytes
        if share is None or peak is None or limit is None:
            return self.not_evaluated("host memory was not sampled", RECORD_FACTS)
        severity = self.grade(share)
        if severity is None:
            return None
        source = measured.source("host_memory_peak_bytes")
        return self.finding(
            severity,
            {"share": share, "peak_gib": peak / GIB, "limit_gib": limit / GIB},
            (
                Evidence(
                    metric="peak host memory / limit",
                    value=share,
                    unit="share",
                    limit=self.at_warn.value,
                    source=source,
                ),
                Evidence(
                    metric="peak host memory", value=peak, unit="bytes", limit=limit, source=source
                ),
            ),
            host_memory_advice(measured),
            cost_bytes=int(peak - self.at_warn.value * limit),
        )
