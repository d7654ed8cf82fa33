"""How far a finding may go: a doubtful measurement of time carries no strong claim about time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from diagnostics.analyses.audit_doubt import Grade
from diagnostics.rules.finding import Finding, Severity

TIMED_FAMILIES = ("DL", "GP", "KN", "CM", "CF")
"""Findings about time. Memory, numbers and the end of a run are facts whatever a clock says."""
CAPS: Mapping[Grade, Severity] = {
    "A": Severity.CRITICAL,
    "B": Severity.CRITICAL,
    "C": Severity.WARN,
    "D": Severity.NOTE,
}


def cap_findings(
    findings: Sequence[Finding], grade: Grade, trace_grade: Grade, of_trace: Collection[str]
) -> tuple[Finding, ...]:
    """The findings, none about time above what the grade of its measurement allows.

    Args:
        findings: In any order, which is kept.
        grade: Of the run's steps.
        trace_grade: Of its traces.
        of_trace: Codes of the rules that look at traces.
    """
    return tuple(
        _capped(each, CAPS[trace_grade if each.rule in of_trace else grade]) for each in findings
    )


def _capped(finding: Finding, cap: Severity) -> Finding:
    if finding.severity <= cap or not finding.rule.startswith(TIMED_FAMILIES):
        return finding
    return replace(finding, severity=cap, capped_from=finding.severity)
