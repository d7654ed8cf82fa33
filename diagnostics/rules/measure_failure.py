"""From the failures of allocations to what rules need of them. Pure."""

from collections.abc import Sequence
from typing import Any

from diagnostics.analyses.allocation_failures import AllocationFailure


def failure_fields(failures: Sequence[AllocationFailure]) -> dict[str, Any]:
    """Of the first failure on a device, and where its message was read."""
    first = next((each for each in failures if each.memory == "device"), None)
    if first is None:
        return {}
    held, total = first.allocated_bytes, first.total_bytes
    return {
        "failure_cause": first.cause,
        "failed_bytes": first.requested_bytes,
        "failed_free_bytes": first.free_bytes,
        "failed_unallocated_bytes": first.unallocated_bytes,
        "failed_other_bytes": first.other_bytes,
        "failed_tensor_share": held / total if held is not None and total else None,
        "failed_stage": first.stage,
    }
