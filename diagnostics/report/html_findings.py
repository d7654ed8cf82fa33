"""Findings as articles of an HTML page: evidence beside its limit, advice, gain, how to check."""

from collections.abc import Iterator, Mapping, Sequence

from diagnostics.language import say
from diagnostics.report import html_words as words
from diagnostics.report import units
from diagnostics.report.html_markup import Markup, element, prose
from diagnostics.report.html_table import table
from diagnostics.report.html_words import word
from diagnostics.report.terminal_findings import CAPPED, ceiling_text, setting_text
from diagnostics.rules.finding import Advice, ConfigChange, Evidence, Finding, Gain


def findings_parts(
    causes: Sequence[Finding], every: Sequence[Finding], none: str = words.NO_FINDING
) -> list[Markup]:
    """Causes by rank, or `none`; `every` holds the symptoms that they explain, too."""
    if not causes:
        return [element("p", none)]
    by_code = {finding.rule: finding for finding in every}
    items = [element("li", _article(finding, by_code)) for finding in causes]
    return [element("ol", items, class_="findings")]


def _article(finding: Finding, by_code: Mapping[str, Finding]) -> Markup:
    label = finding.severity.label
    title = element(
        "h3",
        element("span", word(words.SEVERITY, label), class_=("chip", label)),
        " ",
        element("span", finding.rule, class_="code"),
        " ",
        finding.name,
    )
    cost = _cost(finding)
    return element(
        "article",
        title,
        element("p", cost, class_="cost") if cost else None,
        element("p", prose(finding.summary)),
        element("p", ceiling_text(finding.ceiling)) if finding.ceiling else None,
        _capped(finding),
        _evidence(finding),
        _advice(finding),
        _checks(finding),
        _explained(finding, by_code),
        class_=("finding", label),
    )


def _cost(finding: Finding) -> str | None:
    if finding.cost_ms_per_step is not None:
        return say(words.COST_TIME, ms=units.ms(finding.cost_ms_per_step))
    if finding.cost_bytes:
        return say(words.COST_SIZE, size=units.size(finding.cost_bytes))
    return None


def _capped(finding: Finding) -> Markup | None:
    if finding.capped_from is None:
        return None
    return element("p", say(CAPPED, severity=finding.capped_from.label), class_="dim")


def _evidence(finding: Finding) -> Markup | None:
    if not finding.evidence:
        return None
    header = (words.MEASURE, words.VALUE, words.LIMIT, words.SOURCE)
    rows = [_measured(each) for each in finding.evidence]
    return table(words.EVIDENCE, header, rows, text_columns=(0, 3), is_caption_shown=True)


def _measured(evidence: Evidence) -> tuple[str, str, str, str]:
    limit = "" if evidence.limit is None else units.with_unit(evidence.limit, evidence.unit)
    value = units.with_unit(evidence.value, evidence.unit)
    return evidence.metric, value, limit, evidence.source or ""


def _advice(finding: Finding) -> Iterator[Markup]:
    if finding.advice:
        yield element("h4", words.ADVICE)
        yield element("ul", [_one_advice(each) for each in finding.advice], class_="advice")


def _one_advice(advice: Advice) -> Markup:
    change = advice.config_change
    return element(
        "li",
        element("p", prose(advice.text)),
        element("p", _change(change)) if change is not None else None,
        element("p", _gain(advice.predicted_gain), class_="gain")
        if advice.predicted_gain
        else None,
    )


def _change(change: ConfigChange) -> Markup:
    spelled = say(
        words.CHANGE_FROM,
        key=change.key,
        current=setting_text(change.current),
        proposed=setting_text(change.proposed),
    )
    return element("code", spelled)


def _gain(gain: Gain) -> str:
    low, high = f"{gain.low_ms:g}", units.ms(gain.high_ms)
    if gain.mid_ms is None:
        return say(words.GAIN, low=low, high=high)
    return say(words.GAIN_LIKELY, low=low, high=high, mid=units.ms(gain.mid_ms))


def _checks(finding: Finding) -> Iterator[Markup]:
    for check in dict.fromkeys(advice.verify for advice in finding.advice if advice.verify):
        yield element("p", words.CHECK, " ", prose(check), class_="check")


def _explained(finding: Finding, by_code: Mapping[str, Finding]) -> Iterator[Markup]:
    known = [by_code[code] for code in finding.explains if code in by_code]
    if not known:
        return
    yield element("h4", words.EXPLAINS)
    items = [
        element(
            "li",
            element("span", each.rule, class_="code"),
            " ",
            prose(say(words.SYMPTOM, name=each.name, summary=each.summary)),
        )
        for each in known
    ]
    yield element("ul", items)
