"""The table of plans for a report. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostics.analyses.plan_table import (
    NO_CONFIG,
    MeasuredPlan,
    PlanTable,
    predict_plans,
)
from diagnostics.analyses.plan_work import PlanWork
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class PlanEvidence:
    """What the trainer's side says of the plans, and the runs of them that were found.

    `work` is None where the run does not say what it was configured with.
    """

    work: PlanWork | None
    measured: Mapping[str, MeasuredPlan] = field(default_factory=dict)


def plans_of(run: Run, analysis: RunAnalysis, plans: PlanEvidence | None) -> PlanTable | None:
    """The table; None where nobody asked for it."""
    if plans is None:
        return None
    if plans.work is None:
        return PlanTable(
            run_id=run.info.run_id,
            run_step_ms=None,
            mixture=None,
            rows=(),
            reasons=(NO_CONFIG,),
        )
    return predict_plans(analysis.breakdown, plans.work, plans.measured, run.info.run_id)
