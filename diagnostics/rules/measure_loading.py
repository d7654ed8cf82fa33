"""What rules need to know of the loader, from the analysis of its work. Pure."""

from collections.abc import Sequence
from typing import Any

from diagnostics.analyses.epoch_waits import EpochWaits
from diagnostics.analyses.resources import ProcessSummary
from diagnostics.analyses.run_analysis import RunAnalysis

LOADER_FIELDS = "loading_shares loader_supply_ms fetch_empty_share"
"""Fields of `Measurements` that are read from the step records, beside the copies."""
EPOCH_FIELDS = "first_wait_ms later_wait_ms later_fetch_wait_ms"
STORAGE_FIELDS = "storage_bytes_per_s storage_bytes_per_batch validation_bytes"
DATA_SET_FIELDS = "first_read_share data_file_bytes data_decoded_bytes"
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
    fields |= _storage_fields(analysis) | _epoch_fields(analysis.epoch_waits)
    if found.queue is not None:
        fields["fetch_empty_share"] = found.queue.empty_share
    if found.copies is not None:
        fields["copied_bytes_per_step"] = found.copies.bytes_per_step
        fields["copied_pinned_share"] = found.copies.pinned_share
    return fields


def _storage_fields(analysis: RunAnalysis) -> dict[str, Any]:
    reads, held = analysis.storage_reads, analysis.data_set
    fields: dict[str, Any] = {}
    if reads is not None:
        fields["storage_bytes_per_s"] = reads.bytes_per_s
        fields["storage_bytes_per_batch"] = reads.bytes_per_batch
    if analysis.validation_reads is not None:
        fields["validation_bytes"] = analysis.validation_reads.bytes_read
        fields["validation_s"] = analysis.validation_reads.seconds
        fields["validation_cores"] = analysis.validation_reads.cores
    if held is not None:
        fields["first_read_share"] = held.first_read_share
        fields["data_file_bytes"] = held.file_bytes
        fields["data_decoded_bytes"] = held.decoded_bytes
    return fields


def _epoch_fields(found: EpochWaits | None) -> dict[str, Any]:
    if found is None:
        return {}
    fields: dict[str, Any] = {
        "steps_per_epoch": found.steps_per_epoch,
        "first_pass_steps": found.first_pass_steps,
        "first_wait_ms": found.first.wait_ms,
        "first_step_ms": found.first.step_ms,
        "steps_planned": found.steps_planned,
    }
    if found.later is not None:
        fields["later_wait_ms"] = found.later.wait_ms
        fields["later_step_ms"] = found.later.step_ms
        fields["later_fetch_wait_ms"] = found.later.fetch_wait_ms
    return fields


def _process_bytes(processes: Sequence[ProcessSummary]) -> int | None:
    """Of the machine whose loading processes are the largest."""
    sizes = [
        each.rss_bytes.peak / each.max_count
        for each in processes
        if each.role == "worker" and each.rss_bytes.peak is not None and each.max_count
    ]
    return int(max(sizes)) if sizes else None
