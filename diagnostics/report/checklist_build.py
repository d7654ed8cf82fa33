"""The checklist of a run, filled in for a report. Pure."""

from diagnostics.analyses.loss_trend import compute_loss_trend
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.report.comparison_build import AgainstBaseline
from diagnostics.rules.checklist import ChecklistEvidence, ChecklistItem, fill_checklist
from diagnostics.rules.measurements import Measurements
from diagnostics.run import FACTS, Run

CHECKPOINT_SPAN = "checkpoint"
OUR_LOGS = "vrt-spike"


def checklist_of(
    run: Run,
    analysis: RunAnalysis,
    measured: Measurements,
    against: AgainstBaseline | None = None,
    target_samples_per_s: float | None = None,
) -> tuple[ChecklistItem, ...]:
    """Every item of the checklist, from what the run and its baseline hold."""
    spans = run.tables.spans
    return fill_checklist(
        ChecklistEvidence(
            measured=measured,
            analysis=analysis,
            loss=compute_loss_trend(run),
            num_checkpoints=int((spans["name"] == CHECKPOINT_SPAN).sum()),
            resumed_from=run.info.resumed_from,
            comparison=against.comparison if against else None,
            baseline_quality=against.baseline.quality if against else None,
            target_samples_per_s=target_samples_per_s,
            is_ours=_is_ours(run),
        )
    )


def _is_ours(run: Run) -> bool:
    """Facts are of our trainer unless they say otherwise; a log tells by its lines."""
    if run.info.trainer is not None:
        return run.info.trainer == "vrtspike"
    return run.evidence == FACTS or run.info.log_family == OUR_LOGS
