"""The bottleneck ranking: which stage of the forward and which phase of the step weighs most."""

from dataclasses import dataclass
from typing import Literal

from diagnostics.run import Clock

Priority = Literal["very high", "high", "medium", "low"]

PRIORITY_LIMITS: tuple[tuple[float, Priority], ...] = (
    (0.15, "very high"),
    (0.08, "high"),
    (0.05, "medium"),
)
"""Share above which a part has the priority; from the performance guide."""


@dataclass(frozen=True, kw_only=True)
class RankedPart:
    """One stage or phase; `place` 1 is the heaviest. `share` is of the forward, or of the step."""

    place: int
    name: str
    clock: Clock
    mean_ms: float
    share: float
    priority: Priority


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Stages by share of the forward and phases by share of the step, heaviest first."""

    stages: tuple[RankedPart, ...]
    phases: tuple[RankedPart, ...]


def priority_of(share: float) -> Priority:
    """The documented priority of a part with this share of its whole."""
    for limit, priority in PRIORITY_LIMITS:
        if share > limit:
            return priority
    return "low"
