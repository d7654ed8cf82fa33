"""From a run to its report: analyses, rules, trust and verdict put together. Pure."""

import hashlib
import json
from collections.abc import Iterable

from diagnostics.analyses.ranking import priority_of
from diagnostics.analyses.run_analysis import RunAnalysis, analyse_run
from diagnostics.analyses.step_breakdown import FORWARD_OTHER, StageTime
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_tables import with_trace_tables
from diagnostics.report.checklist_build import checklist_of
from diagnostics.report.comparison_build import compare_with_baseline
from diagnostics.report.model import Report, StageRow, ThresholdDigest, Window
from diagnostics.report.plans_build import PlanEvidence, plans_of
from diagnostics.report.trust import grade_trust
from diagnostics.report.verdict import form_verdict
from diagnostics.rules.capping import cap_findings
from diagnostics.rules.catalogue import CATALOGUE
from diagnostics.rules.evaluate import evaluate
from diagnostics.rules.measure import device_of, measure
from diagnostics.rules.rule import Rule
from diagnostics.rules.thresholds import thresholds_version
from diagnostics.run import Run


def build_report(
    run: Run,
    rules: Iterable[Rule] = CATALOGUE,
    baseline: Run | None = None,
    target_samples_per_s: float | None = None,
    plans: PlanEvidence | None = None,
) -> Report:
    """Diagnose one run, against a baseline if there is one; opens no file."""
    rules = tuple(rules)
    traces = tuple(analyse_trace(trace) for trace in run.traces)
    run = with_trace_tables(run, traces)
    analysis = analyse_run(run, traces)
    breakdown = analysis.breakdown
    device = device_of(run)
    measured = measure(run, analysis)
    evaluation = evaluate(rules, measured)
    trust = grade_trust(run, analysis, device)
    of_trace = {rule.code for rule in rules if rule.reads_trace}
    limits = trust.grade, trust.trace_grade or trust.grade, of_trace
    findings = cap_findings(evaluation.findings, *limits)
    causes = cap_findings(evaluation.causes, *limits)
    against = compare_with_baseline(baseline, run, analysis, findings, rules)
    step_ms = breakdown.data_against_compute.step_ms if breakdown.data_against_compute else None
    stages = tuple(_stage_row(stage, step_ms) for stage in breakdown.stages)
    return Report(
        inputs=run.inputs,
        evidence=run.evidence,
        info=run.info,
        device=device,
        trust=trust,
        verdict=form_verdict(causes, trust, analysis, device),
        analysis=analysis,
        phases=tuple(each for each in breakdown.phases if each.clock == breakdown.clock),
        host_phases=tuple(each for each in breakdown.phases if each.clock != breakdown.clock),
        stages=stages,
        slowest=_slowest(stages),
        window=_window(analysis),
        findings=findings,
        causes=causes,
        not_evaluated=evaluation.not_evaluated,
        passed=evaluation.passed,
        thresholds=digest_thresholds(rules),
        notes=_notes(run, analysis),
        against_baseline=against,
        checklist=checklist_of(run, analysis, measured, against, target_samples_per_s),
        plans=plans_of(run, analysis, plans),
    )


def digest_thresholds(rules: Iterable[Rule]) -> ThresholdDigest:
    """A hash over every limit of every rule: equal hashes judge alike."""
    limits = {
        f"{rule.code}.{name}": [limit.value, limit.unit]
        for rule in rules
        for name, limit in rule.thresholds().items()
    }
    text = json.dumps(limits, sort_keys=True, separators=(",", ":"))
    return ThresholdDigest(
        version=thresholds_version(), sha256=hashlib.sha256(text.encode()).hexdigest()
    )


def _stage_row(stage: StageTime, step_ms: float | None) -> StageRow:
    share = stage.share_of_forward
    if share is None or not share or stage.name == FORWARD_OTHER:
        return StageRow(time=stage, priority=None)
    of_step = stage.mean_ms / step_ms if step_ms else None
    return StageRow(time=stage, priority=priority_of(share, of_step))


def _slowest(stages: Iterable[StageRow]) -> tuple[StageRow, ...]:
    """The stages of the forward, heaviest first, the unnamed rest last."""
    forward = [row for row in stages if row.time.phase == "forward"]
    return tuple(
        sorted(forward, key=lambda row: (row.time.name == FORWARD_OTHER, -row.time.mean_ms))
    )


def _window(analysis: RunAnalysis) -> Window | None:
    data, count = analysis.breakdown.data_against_compute, analysis.breakdown.count
    if data is None:
        return None
    return Window(
        window_ms=data.step_ms * count,
        clock=data.clock,
        data_wait_share=data.data_wait_share,
        data_wait_exposed_share=data.data_wait_exposed_share,
    )


def _notes(run: Run, analysis: RunAnalysis) -> tuple[str, ...]:
    reasons = (
        *run.notes,
        *analysis.breakdown.reasons,
        *analysis.throughput.reasons,
        *analysis.resources.reasons,
        *analysis.loading.reasons,
        *analysis.ranks.reasons,
    )
    return tuple(dict.fromkeys(reasons))
