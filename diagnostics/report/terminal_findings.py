"""Findings and what could not be looked at, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.report import units
from diagnostics.report.console import SEVERITY_STYLES, heading, indented, line
from diagnostics.report.model import Report
from diagnostics.rules.finding import Advice, ConfigChange, Evidence, Finding, Gain, SettingValue


def findings_section(report: Report) -> Iterator[RenderableType]:
    """Causes by rank, each with the symptoms that it explains."""
    yield heading("Findings")
    if not report.causes:
        yield indented("None.")
    by_code = {finding.rule: finding for finding in report.findings}
    for place, finding in enumerate(report.causes, start=1):
        yield from finding_parts(place, finding, by_code)


def finding_parts(
    place: int, finding: Finding, by_code: dict[str, Finding]
) -> Iterator[RenderableType]:
    """A finding with its evidence and advice, and what it explains."""
    style = SEVERITY_STYLES[finding.severity.label]
    label = finding.severity.label.upper()
    yield indented(f"{place}. {label} {finding.rule} {finding.name}{_cost(finding)}", style=style)
    yield indented(finding.summary, 5)
    for evidence in finding.evidence:
        yield indented(f"- {_evidence(evidence)}", 5, "dim")
    for advice in finding.advice:
        yield indented(f"> {_advice(advice)}", 5)
        if advice.config_change is not None:
            yield indented(_change(advice.config_change), 7, "green")
    for check in dict.fromkeys(advice.verify for advice in finding.advice if advice.verify):
        yield indented(f"check: {check}", 5, "dim")
    for code in finding.explains:
        yield indented(f"explains {code} {by_code[code].name}: {by_code[code].summary}", 5)


def _cost(finding: Finding) -> str:
    if finding.cost_ms_per_step is not None:
        return f": up to {units.ms(finding.cost_ms_per_step)} ms of each step"
    if finding.cost_bytes:
        return f": {units.size(finding.cost_bytes)}"
    return ""


def _evidence(evidence: Evidence) -> str:
    text = f"{evidence.metric}: {units.with_unit(evidence.value, evidence.unit)}"
    if evidence.limit is not None:
        text += f" (limit {units.with_unit(evidence.limit, evidence.unit)})"
    return f"{text} [{evidence.source}]" if evidence.source else text


def _advice(advice: Advice) -> str:
    return f"{advice.text}{_gain(advice.predicted_gain)}"


def _gain(gain: Gain | None) -> str:
    if gain is None:
        return ""
    likely = "" if gain.mid_ms is None else f", likely {units.ms(gain.mid_ms)}"
    low = f"{gain.low_ms:g}"
    return f" Predicted to save {low} to {units.ms(gain.high_ms)} ms of each step{likely}."


def _change(change: ConfigChange) -> str:
    return f"{change.key}: {setting_text(change.current)} -> {setting_text(change.proposed)}"


def setting_text(value: SettingValue) -> str:
    """A value as the configuration file spells it."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(str(each) for each in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def not_evaluated_section(report: Report) -> Iterator[RenderableType]:
    """Rules that could not look, those with the same reason on one line; and those that passed."""
    yield heading("Rules that did not fire")
    if report.passed:
        yield indented(f"looked, all well: {', '.join(report.passed)}")
    by_reason: dict[tuple[str, str | None], list[str]] = {}
    for item in report.not_evaluated:
        by_reason.setdefault((item.reason, item.record_next), []).append(item.rule)
    for (reason, record_next), codes in by_reason.items():
        hint = f"; to know: {record_next}" if record_next else ""
        yield indented(f"not evaluated: {', '.join(codes)}: {reason}{hint}")
    yield line("")
    yield line("`python analyze_performance.py --explain RULE` says what a rule measures.", "dim")
