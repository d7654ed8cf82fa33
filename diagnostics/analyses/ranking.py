"""The bottleneck ranking: which stage and which phase of the step weighs most."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from diagnostics.analyses.stage_totals import OUTSIDE, StageTotal
from diagnostics.analyses.step_breakdown import StepBreakdown
from diagnostics.run import Clock

Priority = Literal["very high", "high", "medium", "low"]

PRIORITY_LIMITS: tuple[tuple[float, Priority], ...] = (
    (0.15, "very high"),
    (0.08, "high"),
    (0.05, "medium"),
)
"""Share above which a part has the priority; from the performance guide."""

LEAST_STEP_SHARE = 0.02
"""A part of less of the step has a low priority, whatever its share of the forward; own choice."""


@dataclass(frozen=True, kw_only=True)
class RankedPart:
    """One stage or phase, with its share of what it is ranked in; `place` 1 is the heaviest."""

    place: int
    name: str
    clock: Clock
    mean_ms: float
    share: float
    priority: Priority


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Stages by share of `stages_whole` and phases by share of the step, heaviest first.

    Stages are ranked by forward, backward and recomputation together where those are known.
    """

    stages: tuple[RankedPart, ...]
    phases: tuple[RankedPart, ...]
    stages_whole: Literal["forward", "forward and backward"] = "forward"


def priority_of(share: float, step_share: float | None = None) -> Priority:
    """The documented priority of a part with this share of its whole, if the step feels it."""
    if step_share is not None and step_share < LEAST_STEP_SHARE:
        return "low"
    for limit, priority in PRIORITY_LIMITS:
        if share > limit:
            return priority
    return "low"


def compute_ranking(breakdown: StepBreakdown, totals: Sequence[StageTotal] = ()) -> Ranking:
    """The ranking by the clock to judge by; parts without a share are left out."""
    step_ms = _step_ms(breakdown)
    stages = (
        (each.name, each.clock, each.mean_ms, each.share_of_forward)
        for each in breakdown.stages
        if each.clock == breakdown.clock
    )
    phases = (
        (each.name, each.clock, each.mean_ms, each.share_of_step)
        for each in breakdown.phases
        if each.clock == breakdown.clock
    )
    if totals:
        named = [each for each in totals if each.name != OUTSIDE]
        summed = ((each.name, each.clock, each.total_ms, each.share) for each in named)
        return Ranking(
            stages=_ranked(summed, step_ms),
            phases=_ranked(phases),
            stages_whole="forward and backward",
        )
    return Ranking(stages=_ranked(stages, step_ms), phases=_ranked(phases))


def _step_ms(breakdown: StepBreakdown) -> float | None:
    """By the clock to judge by; None where it is not known."""
    data = breakdown.data_against_compute
    return data.step_ms if data is not None else None


def _ranked(
    parts: Iterable[tuple[str, Clock, float, float | None]],
    step_ms: float | None = None,
) -> tuple[RankedPart, ...]:
    known = [
        (share, name, clock, mean_ms) for name, clock, mean_ms, share in parts if share is not None
    ]
    known.sort(key=lambda part: (-part[0], part[1]))
    return tuple(
        RankedPart(
            place=place,
            name=name,
            clock=clock,
            mean_ms=mean_ms,
            share=share,
            priority=priority_of(share, mean_ms / step_ms if step_ms else None),
        )
        for place, (share, name, clock, mean_ms) in enumerate(known, start=1)
    )
