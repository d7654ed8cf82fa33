"""What rules need to know of the loader, from the analysis of its work. Pure."""

from collections.abc import Sequence
from typing import Any

from diagnostics.analyses.resources import ProcessSummary
from diagnostics.analyses.run_analysis import RunAnalysis

LOADER_FIELDS = "loading_shares loader_supply_ms fetch_empty_share"
"""Fields of `Measurements` that are read from the step records, beside the copies."""
COPY_FIELDS = "copied_bytes_per_step copied_pinned_share"


def loader_fields(analysis: RunAnalysis) -> dict[str, Any]:
    """The fields that were measured; the others keep their defaults."""
    found, cpu = analysis.loading, analysis.making_cpu
    fields: dict[str, Any] = {
        "loading_shares": {part.name: part.share for part in found.parts},
        "loader_supply_ms": found.supply_ms,
        "making_core_share": None if cpu is None else cpu.core_share,
        "loader_process_bytes": _process_bytes(analysis.resources.processes),
    }
    if found.queue is not None:
        fields["fetch_empty_share"] = found.queue.empty_share
    if found.copies is not None:
        fields["copied_bytes_per_step"] = found.copies.bytes_per_step
        fields["copied_pinned_share"] = found.copies.pinned_share
    return fields


def _process_bytes(processes: Sequence[ProcessSummary]) -> int | None:
    """Of the machine whose loading processes are the largest."""
    sizes = [
        each.rss_bytes.peak / each.max_count
        for each in processes
        if each.role == "worker" and each.rss_bytes.peak is not None and each.max_count
    ]
    return int(max(sizes)) if sizes else None
