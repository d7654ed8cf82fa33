"""A run and its baseline, put side by side for a report. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostics.analyses.comparison import Comparison, compare_runs
from diagnostics.analyses.run_analysis import RunAnalysis, analyse_run
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_tables import with_trace_tables
from diagnostics.rules.comparison_doubts import Doubt, find_doubts, is_time_judged
from diagnostics.rules.evaluate import evaluate
from diagnostics.rules.finding import Finding
from diagnostics.rules.measure import measure
from diagnostics.rules.regressions import Regression, find_regressions
from diagnostics.rules.rule import Rule
from diagnostics.run import Input, Run


@dataclass(frozen=True, kw_only=True)
class AgainstBaseline:
    """What a report says about a run against its baseline.

    `new_findings` are those that the baseline did not have, or had with a lower severity;
    `gone` are the codes of those that it had and this run has not. `inputs` are the baseline's.
    `doubts` say what else may be behind a change of the times; `is_judged` is False where that, or
    too short a run, leaves open whether the run became slower.
    """

    comparison: Comparison
    regressions: tuple[Regression, ...]
    new_findings: tuple[Finding, ...]
    gone: tuple[str, ...]
    inputs: tuple[Input, ...]
    baseline: RunAnalysis
    doubts: tuple[Doubt, ...]
    is_judged: bool


def compare_with_baseline(
    baseline: Run | None,
    run: Run,
    analysis: RunAnalysis,
    findings: Sequence[Finding],
    rules: Sequence[Rule],
) -> AgainstBaseline | None:
    """Compare the run, already analysed and judged, with its baseline, judged by the same rules.

    None without a baseline.
    """
    if baseline is None:
        return None
    traces = tuple(analyse_trace(trace) for trace in baseline.traces)
    baseline = with_trace_tables(baseline, traces)
    before = analyse_run(baseline, traces)
    comparison = compare_runs(baseline, run)
    old = {each.rule: each for each in evaluate(rules, measure(baseline, before)).findings}
    codes = {each.rule for each in findings}
    return AgainstBaseline(
        comparison=comparison,
        regressions=find_regressions(comparison, before.quality, analysis.quality),
        new_findings=tuple(
            each
            for each in findings
            if each.rule not in old or old[each.rule].severity < each.severity
        ),
        gone=tuple(code for code in old if code not in codes),
        inputs=baseline.inputs,
        baseline=before,
        doubts=find_doubts(comparison),
        is_judged=is_time_judged(comparison),
    )
