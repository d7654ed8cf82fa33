"""HM103: a /dev/shm as small as a container gets unless it is asked for more."""

from collections.abc import Iterator

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import Pattern

TINY_SHARED_MEMORY = Pattern(
    "HM103",
    "shared-memory-tiny",
    "/dev/shm holds {size_mib:.0f} MiB: loader processes hand their batches over there and fail "
    "when it is full.",
)

TINY_SHARED_BYTES = 64 << 20
"""What a Docker container gets unless --shm-size says otherwise."""


def shared_memory_findings(capacity: Capacity) -> Iterator[Finding]:
    """A /dev/shm that loader processes would fill at once."""
    size = capacity.shm_total_bytes
    if size is None or size > TINY_SHARED_BYTES:
        return
    yield TINY_SHARED_MEMORY.finding(
        Severity.WARN,
        {"size_mib": size / 2**20},
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
