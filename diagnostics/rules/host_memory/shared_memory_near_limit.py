"""HM005: /dev/shm, in which loader processes hand batches over, is almost full."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.host_memory.memory_advice import fewer_batches_ready
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_SAMPLED, RECORD_MACHINE
from diagnostics.rules.rule import Outcome, Rule, Threshold

GIB = 1 << 30
_LARGER = (
    "Make it larger: in a container `docker run --shm-size={size}g` or `--ipc=host`; it is "
    "{total_gib:.2f} GiB now."
)


class SharedMemoryNearLimit(Rule):
    """The largest use of /dev/shm against its size."""

    code = "HM005"
    name = "shared-memory-near-limit"
    summary = (
        "/dev/shm reached {share:.1%} ({used_gib:.2f} of {total_gib:.2f} GiB); a loader process "
        "that finds it full dies with a bus error."
    )
    docs = """
## What it measures
The largest use of /dev/shm over the run, by everybody on the machine, against its size.

## Why it matters
Loader processes leave their finished batches there. When it is full, the next batch ends the
process that writes it, and the training with it.

## What to try
A larger /dev/shm, or fewer batches that wait in it: less prefetching, fewer loader processes.

## False alarms
Other programs use it, too. A share that is high and steady with all batches ready will not grow.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the peak with the size."""
        used, total = measured.shared_memory_used_bytes, measured.shared_memory_total_bytes
        if used is None or not total:
            return self.not_evaluated(NOT_SAMPLED, RECORD_MACHINE)
        share = used / total
        severity = self.grade(share)
        if severity is None:
            return None
        larger = say(_LARGER, size=-(-2 * used // GIB), total_gib=total / GIB)
        return self.finding(
            severity,
            {"share": share, "used_gib": used / GIB, "total_gib": total / GIB},
            (
                row(
                    "peak use / size of /dev/shm",
                    share,
                    "share",
                    self.at_warn,
                    measured.source("shared_memory_used_bytes"),
                ),
            ),
            (
                Advice(text=larger, verify="python diagnose_memory.py"),
                *fewer_batches_ready(measured),
            ),
            cost_bytes=used,
        )
