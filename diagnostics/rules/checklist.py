"""The performance guide's checklist, filled in from what a run measured: pass, fail, not measured.

Every item names its limit, and where the value was read. What was not measured says why, and what
would answer it; that is no failure.
"""

from collections.abc import Callable

from diagnostics.rules.checklist_function import (
    all_finite,
    checkpoint_loaded,
    checkpoints_saved,
    loss_converges,
    quality_acceptable,
)
from diagnostics.rules.checklist_item import ChecklistEvidence, ChecklistItem
from diagnostics.rules.checklist_performance import (
    cache_hit,
    data_time_short,
    gpu_used,
    rate_reached,
)
from diagnostics.rules.checklist_resources import (
    cpu_use_moderate,
    disk_fast_enough,
    gpu_memory_acceptable,
    host_memory_stable,
)

__all__ = ["ChecklistEvidence", "ChecklistItem", "fill_checklist"]

_ITEMS: tuple[Callable[[ChecklistEvidence], ChecklistItem], ...] = (
    loss_converges,
    quality_acceptable,
    all_finite,
    checkpoints_saved,
    checkpoint_loaded,
    rate_reached,
    gpu_used,
    data_time_short,
    cache_hit,
    gpu_memory_acceptable,
    host_memory_stable,
    cpu_use_moderate,
    disk_fast_enough,
)


def fill_checklist(known: ChecklistEvidence) -> tuple[ChecklistItem, ...]:
    """Every item in the guide's order."""
    return tuple(fill(known) for fill in _ITEMS)
