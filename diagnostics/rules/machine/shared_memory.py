"""HM103: a /dev/shm as small as a container gets unless it is asked for more."""

from collections.abc import Iterator

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.thresholds import limits_of

MIB = 1 << 20
_LIMITS = limits_of("HM103")
TINY = _LIMITS["tiny"]
TINY_SHARED_MEMORY = Pattern(
    code="HM103",
    name="shared-memory-tiny",
    summary="/dev/shm holds {size_mib:.0f} MiB: loader processes hand their batches over there and "
    "fail when it is full.",
    docs="""
## What it measures
The size of /dev/shm, the file system in memory through which loader processes hand over batches.

## Why it matters
When it is full, a loader process dies with a bus error in the middle of the training.

## What to try
In a container, `--shm-size=8g` or `--ipc=host`; elsewhere, a larger mount of /dev/shm. Without
loader processes (DATALOADER.TOTAL_WORKERS 0) it is not needed.

## False alarms
A run without loader processes, or with very small batches, never fills it.
""",
    limits=_LIMITS,
)
TINY_SHARED_BYTES = int(TINY.value) * MIB


def shared_memory_findings(capacity: Capacity) -> Iterator[Finding]:
    """A /dev/shm that loader processes would fill at once."""
    size = capacity.shm_total_bytes
    if size is None or size > TINY_SHARED_BYTES:
        return
    yield TINY_SHARED_MEMORY.finding(
        Severity.WARN,
        {"size_mib": size / MIB},
        [
            Evidence(
                metric="size of /dev/shm",
                value=size,
                unit="bytes",
                limit=TINY_SHARED_BYTES,
                source="statvfs",
            )
        ],
        [
            Advice(
                text="Start the container with more, for example `docker run --shm-size=8g`, or "
                "with `--ipc=host`.",
                verify="python diagnose_memory.py",
            )
        ],
    )
