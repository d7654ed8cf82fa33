"""What rules need to know of the loader, from the analysis of its work. Pure."""

from typing import Any

from diagnostics.analyses.loading import Loading

LOADER_FIELDS = "loading_shares loader_supply_ms fetch_empty_share"
"""Fields of `Measurements` that are read from the step records, beside the copies."""
COPY_FIELDS = "copied_bytes_per_step copied_pinned_share"


def loader_fields(found: Loading) -> dict[str, Any]:
    """The fields that were measured; the others keep their defaults."""
    fields: dict[str, Any] = {
        "loading_shares": {part.name: part.share for part in found.parts},
        "loader_supply_ms": found.supply_ms,
    }
    if found.queue is not None:
        fields["fetch_empty_share"] = found.queue.empty_share
    if found.copies is not None:
        fields["copied_bytes_per_step"] = found.copies.bytes_per_step
        fields["copied_pinned_share"] = found.copies.pinned_share
    return fields
