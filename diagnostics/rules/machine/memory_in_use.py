"""The evidence that findings about a machine's memory share."""

from diagnostics.analyses.machine_capacity import Room
from diagnostics.rules.finding import Evidence

VERIFY = "python diagnose_memory.py"


def memory_in_use(room: Room, limit: float) -> Evidence:
    """Memory in use now, beside the limit it is held against."""
    return Evidence(
        metric="memory in use",
        value=room.used_share,
        unit="share",
        limit=limit,
        source=room.source,
    )
