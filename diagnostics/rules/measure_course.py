"""From the course of a run to what rules need of it: rhythm, time outside, loader, learning."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from diagnostics.analyses.learning_course import compute_learning_course
from diagnostics.analyses.loading import Loading, LoadingWorker
from diagnostics.analyses.outside_steps import CHECKPOINT, VALIDATION, OutsideSteps
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.analyses.step_rhythm import StepRhythm
from diagnostics.language import say
from diagnostics.run import Run

COURSE_FIELDS = (
    "num_rhythm_steps",
    "step_p95_ms",
    "step_drift_share",
    "num_slow_steps",
    "gc_cost_ms",
    "compile_cost_ms",
    "num_zero_rate",
    "clipped_share",
    "loss_change_share",
    "made_ms",
    "loader_start_ms",
    "slowest_loader_ratio",
)
"""Fields that are read from the step records."""
SPAN_FIELDS = (
    "validation_ms",
    "checkpoint_ms",
    "first_step_after_s",
    "unsaved_s",
)
"""Fields that are read from the spans."""


def course_fields(run: Run, analysis: RunAnalysis, max_grad_norm: float | None) -> dict[str, Any]:
    """`max_grad_norm` as our trainer is configured; None for another's loop."""
    learning = compute_learning_course(run, max_grad_norm)
    return {
        **_rhythm(analysis.rhythm),
        **_outside(analysis.outside),
        **_loader(analysis),
        "num_rates": learning.num_rates,
        "num_zero_rate": learning.num_zero_rate,
        "num_norms": learning.num_norms,
        "clipped_share": learning.clipped_share,
        "num_late_losses": learning.num_losses,
        "loss_change_share": learning.loss_change_share,
        "loss_change_low_share": learning.loss_change_low_share,
        "loss_change_high_share": learning.loss_change_high_share,
    }


def _rhythm(rhythm: StepRhythm) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "num_rhythm_steps": rhythm.num_steps,
        "step_median_ms": rhythm.median_ms,
        "step_mean_ms": rhythm.mean_ms,
        "step_p95_ms": rhythm.p95_ms,
    }
    if rhythm.drift is not None:
        fields["step_drift_share"] = rhythm.drift.share
        fields["step_drift_low_share"] = rhythm.drift.low_share
    if rhythm.slow is not None:
        fields |= {
            "num_slow_steps": rhythm.slow.count,
            "slow_steps_cost_ms": rhythm.slow.cost_ms_per_step,
            "slow_steps_every": rhythm.slow.every_steps,
            "slow_steps_phase": rhythm.slow.phase,
        }
    if not rhythm.num_steps or not rhythm.has_tags:
        return fields
    for tag in ("gc", "compile"):
        cost = rhythm.tags.get(tag)
        fields[f"num_{tag}_steps"] = cost.count if cost else 0
        fields[f"{tag}_cost_ms"] = cost.cost_ms_per_step if cost else 0.0
    if "compile" in rhythm.tags:
        fields["last_compile_step"] = rhythm.tags["compile"].last_step
    return fields


def _outside(outside: OutsideSteps) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "wall_s": outside.wall_s,
        "num_all_steps": outside.num_steps,
        "first_step_after_s": outside.first_step_after_s,
        "unsaved_steps": outside.unsaved_steps,
        "unsaved_s": outside.unsaved_s,
    }
    if validation := outside.spans.get(VALIDATION):
        fields |= {
            "num_validation_spans": validation.count,
            "validation_ms": validation.ms_per_step,
            "validation_wall_share": validation.wall_share,
        }
    if checkpoint := outside.spans.get(CHECKPOINT):
        fields |= {
            "num_checkpoints": checkpoint.count,
            "checkpoint_ms": checkpoint.ms_per_step,
            "checkpoint_mean_ms": checkpoint.mean_ms,
            "checkpoint_wall_share": checkpoint.wall_share,
        }
    return fields


def _loader(analysis: RunAnalysis) -> dict[str, Any]:
    loading, starts = analysis.loading, analysis.loader_starts
    fields: dict[str, Any] = {}
    if starts is not None:
        fields |= {
            "num_loader_starts": starts.count,
            "loader_start_ms": starts.mean_ms,
            "loader_start_cost_ms": starts.cost_ms_per_step,
            "are_loader_starts_told": starts.is_told,
        }
    if loading.wait is not None:
        fields["fetch_wait_p95_ms"] = loading.wait.p95_ms
    if loading.made is not None:
        fields |= {"made_ms": loading.made.mean_ms, "made_p95_ms": loading.made.p95_ms}
        fields["loaders_per_rank"] = _loaders_per_rank(loading)
    return fields | _slowest_loader(loading.workers)


def _loaders_per_rank(loading: Loading) -> float:
    ranks = {each.rank for each in loading.workers}
    processes = sum(each.worker is not None for each in loading.workers)
    return processes / max(1, len(ranks))


def _slowest_loader(workers: Sequence[LoadingWorker]) -> dict[str, Any]:
    """Against the others of its rank; with fewer than two others nobody stands out."""
    found: dict[str, Any] = {}
    for rank in sorted({each.rank for each in workers}):
        of_rank = [each for each in workers if each.rank == rank and each.worker is not None]
        if len(of_rank) < 3:
            continue
        slowest = max(of_rank, key=lambda each: each.made_mean_ms)
        usual = median(each.made_mean_ms for each in of_rank if each is not slowest)
        ratio = slowest.made_mean_ms / usual if usual > 0 else 1.0
        if ratio > found.get("slowest_loader_ratio", 0.0):
            found = {
                "slowest_loader": say("{worker} of rank {rank}", worker=slowest.worker, rank=rank),
                "slowest_loader_ratio": ratio,
                "slowest_loader_ms": slowest.made_mean_ms,
            }
    return found
