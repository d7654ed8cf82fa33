"""What each plan is predicted to do on this machine, from the stage times of one measured run.

Every stage is scaled by the work that a plan gives it. A stage that computes goes with its FLOPs,
one that moves memory with its bytes, a small one with the number of its layers; what a machine is
short of is read off the run itself, whose stages have different mixtures of the three. The
prediction takes that mixture; its interval reaches over it and over what FLOPs or bytes alone would
give, and at least `MODEL_ERROR` to each side, `WINDOW_ERROR` for another window. Mixed precision
that the run did not use was not measured: between no gain and half the time. Figures of any
document are no part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from diagnostics.analyses.plan_scaling import (
    Mixture,
    StageTimes,
    fit_mixture,
    network_factors,
    same,
    shares_of,
    wait_factors,
    whole_factors,
)
from diagnostics.analyses.plan_work import PlanWork, StepWork
from diagnostics.analyses.step_breakdown import StepBreakdown
from diagnostics.analyses.step_parts import BACKWARD, FORWARD, RECOMPUTE
from diagnostics.language import say

MODEL_ERROR = 0.15
WINDOW_ERROR = 0.25
"""Least half widths of an interval, as shares. Plans that shared a window were within 7 % of their
predictions, those with another one within 23 % (`benchmarks/results/plan_table.md`)."""

WINDOW = "MODEL.WINDOW_SIZE"
_NOT_SCALED = (
    "MODEL.ATTENTION",
    "TRAIN.COMPILE_MODEL",
    "MODEL.VRT.",
    "TRAIN.DISTILLATION",
    "LOSS.",
)
NOT_IN_THE_MODEL = "its {key} differs from the run's; what that changes is not predicted"
PRECISION_UNMEASURED = "mixed precision was not measured here: between no gain and half the time"
FAR = 20.0
FAR_AWAY = "{times:.0f} times the work of the run: a guess; a run of one plan would tell more"
NO_STAGES = "the run holds no stage times: forward and backward are scaled as wholes"
NO_STEPS = "no phases of the step were measured"
NO_CONFIG = "the run does not state a configuration of VRT-Spike's own trainer; give its facts"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A figure with the interval that it is expected in."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MeasuredPlan:
    """A run of a plan on this machine: its mean step with its 95 % interval, and its memory."""

    run_id: str | None
    count: int
    step_ms: float
    low_ms: float | None
    high_ms: float | None
    samples_per_s: float | None
    memory_bytes: float | None


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """One plan. `error_share` is predicted over measured less one, where both are known.

    `label` is the name without what all names begin with. `is_reference` marks a plan
    that the measured run itself followed: it has nothing to predict.
    """

    name: str
    label: str
    samples_per_step: int
    step_ms: Prediction | None
    samples_per_s: Prediction | None
    memory_bytes: int
    measured: MeasuredPlan | None = None
    error_share: float | None = None
    is_reference: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlanTable:
    """The plans by name.

    `mixture` holds the parts of the stages' time that go with their FLOPs, the bytes they move and
    the number of their layers; None where that could not be told from the run. `reasons` says what
    was missing.
    """

    run_id: str | None
    run_step_ms: float | None
    mixture: tuple[float, float, float] | None
    rows: tuple[PlanRow, ...]
    reasons: tuple[str, ...] = ()


def predict_plans(
    breakdown: StepBreakdown,
    work: PlanWork,
    measured: Mapping[str, MeasuredPlan],
    run_id: str | None = None,
) -> PlanTable:
    """The table, from the run's breakdown and what is known of each plan by its name."""
    times = {each.name: each.mean_ms for each in breakdown.phases if each.clock == breakdown.clock}
    reasons = [] if times else [NO_STEPS]
    stages = _stage_times(breakdown)
    if times and not stages:
        reasons.append(NO_STAGES)
    mixture = fit_mixture(stages, work.run) if stages else None
    rows = [
        _row(times, stages, work.run, plan, mixture, measured.get(plan.name)) for plan in work.plans
    ]
    return PlanTable(
        run_id=run_id,
        run_step_ms=sum(times.values()) if times else None,
        mixture=shares_of(stages, work.run, mixture),
        rows=_labelled(rows),
        reasons=tuple(reasons),
    )


def _labelled(rows: Sequence[PlanRow]) -> tuple[PlanRow, ...]:
    """With what only this plan's name says: whole words that all begin with are left out."""
    words = [row.name.split("_") for row in rows]
    least = min(map(len, words), default=1) - 1
    shared = 0
    while shared < least and len({each[shared] for each in words}) == 1 and len(words) > 1:
        shared += 1
    return tuple(
        replace(row, label="_".join(each[shared:])) for row, each in zip(rows, words, strict=True)
    )


def _stage_times(breakdown: StepBreakdown) -> StageTimes:
    """Milliseconds of a step by stage and direction, by the clock to judge by."""
    return {
        (each.name, each.phase): each.mean_ms
        for each in breakdown.stages
        if each.clock == breakdown.clock
    }


def _row(
    times: Mapping[str, float],
    stages: StageTimes,
    run: StepWork,
    plan: StepWork,
    mixture: Mixture | None,
    measured: MeasuredPlan | None,
) -> PlanRow:
    is_reference = run.settings == plan.settings
    step = _step(times, stages, run, plan, mixture) if times else None
    return PlanRow(
        name=plan.name,
        label=plan.name,
        samples_per_step=plan.samples_per_step,
        step_ms=step,
        samples_per_s=_rate(step, plan.samples_per_step),
        memory_bytes=plan.memory_bytes,
        measured=measured,
        error_share=step.mid / measured.step_ms - 1 if step and measured else None,
        is_reference=is_reference,
        reasons=tuple(_caveats(run, plan)),
    )


def _rate(step: Prediction | None, samples: int) -> Prediction | None:
    if step is None or step.low <= 0:
        return None
    low, mid, high = (1000 * samples / ms for ms in (step.high, step.mid, step.low))
    return Prediction(low=low, mid=mid, high=high)


def _caveats(run: StepWork, plan: StepWork) -> list[str]:
    differing = {
        key
        for key in {*run.settings, *plan.settings}
        if run.settings.get(key) != plan.settings.get(key)
    }
    unscaled = sorted(key for key in differing if key.startswith(_NOT_SCALED))
    reasons = [say(NOT_IN_THE_MODEL, key=key) for key in unscaled]
    times = plan.flops / run.flops if run.flops else 1.0
    if not 1 / FAR <= times <= FAR:
        reasons.append(say(FAR_AWAY, times=times))
    if run.is_half != plan.is_half:
        reasons.append(PRECISION_UNMEASURED)
    return reasons


def _step(
    times: Mapping[str, float],
    stages: StageTimes,
    run: StepWork,
    plan: StepWork,
    mixture: Mixture | None,
) -> Prediction:
    """The sum of the scaled phases, as wide as the ways to scale them disagree."""
    passes = plan.micro_batches / run.micro_batches
    whole = whole_factors(run, plan)
    factors: dict[str, tuple[float, float, float]] = {
        FORWARD: network_factors(stages, (FORWARD,), run, plan, mixture) or whole,
        BACKWARD: network_factors(stages, (BACKWARD, RECOMPUTE), run, plan, mixture)
        or network_factors(stages, (FORWARD,), run, plan, mixture)
        or whole,
        "loss": same(passes * plan.pixels / run.pixels),
        "h2d": same(passes * plan.batch_bytes / run.batch_bytes),
        "optimizer": same(plan.parameters / run.parameters),
        "data_wait": wait_factors(passes * plan.batch_bytes / run.batch_bytes),
    }
    low, mid, high = (
        sum(ms * factors.get(name, same(1.0))[place] for name, ms in times.items())
        for place in range(3)
    )
    is_alike = run.settings.get(WINDOW) == plan.settings.get(WINDOW)
    error = MODEL_ERROR if is_alike else WINDOW_ERROR
    return Prediction(low=min(low, mid * (1 - error)), mid=mid, high=max(high, mid * (1 + error)))
