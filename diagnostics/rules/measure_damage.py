"""What rules need to know of damaged samples. Pure."""

from typing import Any

from diagnostics.analyses.damaged_samples import DamagedSamples

DAMAGE_FIELDS = ("num_damaged_files", "first_damaged_file", "damaged_share")
"""Fields of `Measurements` that are read from the events."""


def damage_fields(found: DamagedSamples | None) -> dict[str, Any]:
    """Nothing where the run does not say."""
    if found is None:
        return {}
    return {
        "num_damaged_files": len(found.files),
        "first_damaged_file": next(iter(found.files), None),
        "damaged_share": max((each.share for each in found.splits), default=None),
    }
