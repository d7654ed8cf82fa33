"""Everything a renderer may show about one run. Renderers format it and compute nothing."""

from dataclasses import dataclass
from typing import Literal

from diagnostics.analyses.audit_doubt import Doubt
from diagnostics.analyses.audit_doubt import Grade as Grade
from diagnostics.analyses.plan_table import PlanTable
from diagnostics.analyses.ranking import Priority
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.analyses.step_breakdown import PhaseTime, StageTime
from diagnostics.report.comparison_build import AgainstBaseline
from diagnostics.rules.checklist import ChecklistItem
from diagnostics.rules.finding import Finding, NotEvaluated
from diagnostics.run import Clock, Evidence, Input, RunInfo

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How far the measurement can be trusted: A (fully) to D (no verdict), and why not more.

    `trace_grade` is that of the traces, by which rules on traces are capped; None without a trace.
    `doubts` are what the audit found, `passed` its checks that found nothing. `record_next` says
    what would give a better grade; None at A.
    """

    grade: Grade
    reasons: tuple[str, ...] = ()
    trace_grade: Grade | None = None
    doubts: tuple[Doubt, ...] = ()
    passed: tuple[str, ...] = ()
    record_next: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer in one or two sentences. `rule` is the finding behind it; None: nothing is wrong.

    `judged` is false when the evidence does not suffice; the text then says what to record.
    """

    text: str
    rule: str | None = None
    judged: bool = True


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """A stage with its documented priority; None for stages of another phase and for the rest."""

    time: StageTime
    priority: Priority | None


@dataclass(frozen=True, kw_only=True)
class Window:
    """All ordinary steps together, and how much of that time went where; None was not measured."""

    window_ms: float
    clock: Clock
    data_wait_share: float | None
    data_wait_exposed_share: float | None


@dataclass(frozen=True, kw_only=True)
class ThresholdDigest:
    """Which limits were applied: a version, and a hash over all of them."""

    version: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run, diagnosed.

    `phases` are by the clock to judge by, in order of execution; `host_phases` are the same phases
    by the host's clock where that is another one. `stages` are in order of execution, `slowest`
    those of the forward by time. `findings` holds causes by rank, then the symptoms they explain.
    `notes` says what was left out or could not be known.
    """

    inputs: tuple[Input, ...]
    evidence: Evidence
    info: RunInfo
    device: Device | None
    trust: Trust
    verdict: Verdict
    analysis: RunAnalysis
    phases: tuple[PhaseTime, ...]
    host_phases: tuple[PhaseTime, ...]
    stages: tuple[StageRow, ...]
    slowest: tuple[StageRow, ...]
    window: Window | None
    findings: tuple[Finding, ...]
    causes: tuple[Finding, ...]
    not_evaluated: tuple[NotEvaluated, ...]
    passed: tuple[str, ...]
    thresholds: ThresholdDigest
    notes: tuple[str, ...] = ()
    against_baseline: AgainstBaseline | None = None
    checklist: tuple[ChecklistItem, ...] = ()
    plans: PlanTable | None = None
