"""What each stage costs in all: forward, backward and recomputation side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostics.analyses.step_breakdown import StepBreakdown
from diagnostics.analyses.step_parts import (
    BACKWARD,
    BACKWARD_OTHER,
    FORWARD,
    FORWARD_OTHER,
    RECOMPUTE,
    RECOMPUTE_OTHER,
    StageTime,
)
from diagnostics.run import Clock

OUTSIDE = "outside the stages"
_OTHERS = (FORWARD_OTHER, BACKWARD_OTHER, RECOMPUTE_OTHER)


@dataclass(frozen=True, kw_only=True)
class StageTotal:
    """Mean times of one stage in a step, by one clock; None where it has none of that kind.

    `share` is of forward and backward together. The last of the totals, `outside the stages`,
    holds what no stage did.
    """

    name: str
    clock: Clock
    forward_ms: float | None
    backward_ms: float | None
    recompute_ms: float | None
    total_ms: float
    share: float


def compute_stage_totals(breakdown: StepBreakdown) -> tuple[StageTotal, ...]:
    """The stages, heaviest first; empty where no backward was recorded by the clock to judge by."""
    known = [each for each in breakdown.stages if each.clock == breakdown.clock]
    whole = sum(each.mean_ms for each in known)
    if breakdown.clock is None or not any(each.phase == BACKWARD for each in known) or whole <= 0:
        return ()
    names = dict.fromkeys(each.name for each in known if each.name not in _OTHERS)
    stages = [
        _total(name, breakdown.clock, [each for each in known if each.name == name], whole)
        for name in names
    ]
    others = [each for each in known if each.name in _OTHERS]
    stages.sort(key=lambda each: (-each.total_ms, each.name))
    return (*stages, _total(OUTSIDE, breakdown.clock, others, whole))


def _total(name: str, clock: Clock, parts: Sequence[StageTime], whole_ms: float) -> StageTotal:
    by_phase = {each.phase: each.mean_ms for each in parts}
    total_ms = sum(by_phase.values())
    return StageTotal(
        name=name,
        clock=clock,
        forward_ms=by_phase.get(FORWARD),
        backward_ms=by_phase.get(BACKWARD),
        recompute_ms=by_phase.get(RECOMPUTE),
        total_ms=total_ms,
        share=total_ms / whole_ms,
    )
