"""Findings and what could not be looked at, for a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType

from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import SEVERITY_STYLES, heading, indented, line
from diagnostics.report.model import Report
from diagnostics.rules.finding import (
    Advice,
    Ceiling,
    ConfigChange,
    Evidence,
    Finding,
    Gain,
    SettingValue,
)

CEILING = "If it were gone, a step would take {without} ms: {speedup:.2f} times as fast at most."
CEILING_WHOLE = "It is the whole step: nothing would be left if it were gone."
MAX_REASONS = 2
"""More reasons with one way out are only counted."""

UNANSWERED = "not evaluated: {codes}: {reason}{hint}"
MANY_UNANSWERED = "not evaluated, for {count} reasons (--json has them): {codes}; to know: {hint}"
CAPPED = "By its value {severity}; the measurement is too rough to say so."


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
    title = say(
        "{place}. {label} {rule} {name}{cost}",
        place=place,
        label=label,
        rule=finding.rule,
        name=finding.name,
        cost=_cost(finding),
    )
    yield indented(title, style=style)
    yield indented(finding.summary, 5)
    if finding.ceiling is not None:
        yield indented(ceiling_text(finding.ceiling), 5)
    if finding.capped_from is not None:
        yield indented(say(CAPPED, severity=finding.capped_from.label), 5, "dim")
    for evidence in finding.evidence:
        yield indented(_evidence(evidence), 5, "dim")
    for advice in finding.advice:
        yield indented(_advice(advice), 5)
        if advice.config_change is not None:
            yield indented(_change(advice.config_change), 7, "green")
    for check in dict.fromkeys(advice.verify for advice in finding.advice if advice.verify):
        yield indented(say("check: {check}", check=check), 5, "dim")
    for code in finding.explains:
        yield indented(
            say(
                "explains {code} {name}: {summary}",
                code=code,
                name=by_code[code].name,
                summary=by_code[code].summary,
            ),
            5,
        )


def _cost(finding: Finding) -> str:
    if finding.cost_ms_per_step is not None:
        return say(
            ": up to {cost_ms_per_step} ms of each step",
            cost_ms_per_step=units.ms(finding.cost_ms_per_step),
        )
    if finding.cost_bytes:
        return say(": {size}", size=units.size(finding.cost_bytes))
    return ""


def ceiling_text(ceiling: Ceiling) -> str:
    """How fast a step could be at best."""
    without = units.ms(ceiling.without_ms)
    if ceiling.speedup is None:
        return CEILING_WHOLE
    return say(CEILING, without=without, speedup=ceiling.speedup)


def _evidence(evidence: Evidence) -> str:
    limit = source = ""
    if evidence.limit is not None:
        limit = say(" (limit {limit})", limit=units.with_unit(evidence.limit, evidence.unit))
    if evidence.source:
        source = say(" [{source}]", source=evidence.source)
    value = units.with_unit(evidence.value, evidence.unit)
    return say(
        "- {metric}: {value}{limit}{source}",
        metric=evidence.metric,
        value=value,
        limit=limit,
        source=source,
    )


def _advice(advice: Advice) -> str:
    return say("> {text}{gain}", text=advice.text, gain=_gain(advice.predicted_gain))


def _gain(gain: Gain | None) -> str:
    if gain is None:
        return ""
    if gain.low_ms == gain.high_ms:
        return say(
            " Predicted to save {saved_ms} ms of each step.", saved_ms=units.ms(gain.high_ms)
        )
    likely = "" if gain.mid_ms is None else say(", likely {mid_ms}", mid_ms=units.ms(gain.mid_ms))
    low = units.ms(gain.low_ms) if gain.low_ms else "0"
    return say(
        " Predicted to save {low} to {high_ms} ms of each step{likely}.",
        low=low,
        high_ms=units.ms(gain.high_ms),
        likely=likely,
    )


def _change(change: ConfigChange) -> str:
    return say(
        "{key}: {current} -> {proposed}",
        key=change.key,
        current=setting_text(change.current),
        proposed=setting_text(change.proposed),
    )


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
        yield indented(say("looked, all well: {passed}", passed=listed(report.passed)))
    by_hint: dict[str | None, dict[str, list[str]]] = {}
    for item in report.not_evaluated:
        by_hint.setdefault(item.record_next, {}).setdefault(item.reason, []).append(item.rule)
    for record_next, by_reason in by_hint.items():
        yield from _unanswered(record_next, by_reason)
    yield line("")
    yield line("`python analyze_performance.py --explain RULE` says what a rule measures.", "dim")


def _unanswered(
    record_next: str | None, by_reason: Mapping[str, Sequence[str]]
) -> Iterator[RenderableType]:
    """The rules of each reason on one line; of many reasons with one way out, that alone."""
    if record_next is not None and len(by_reason) > MAX_REASONS:
        codes = sorted(code for codes in by_reason.values() for code in codes)
        text = say(MANY_UNANSWERED, count=len(by_reason), codes=listed(codes), hint=record_next)
        yield indented(text)
        return
    for reason, held in by_reason.items():
        hint = say("; to know: {record_next}", record_next=record_next) if record_next else ""
        yield indented(say(UNANSWERED, codes=listed(held), reason=reason, hint=hint))
