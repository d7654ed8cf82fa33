"""One proposal for each switch: where several findings ask for the same change, one makes it."""

from collections.abc import Sequence
from dataclasses import replace

from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange, Finding

_SAME = "{rule} proposes the same, for its own reason: {key} = {value}."


def one_proposal_each(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings of which no two propose the same change of a switch.

    The most serious one keeps its proposal, the first of them where several are; the others name
    it. Proposals that differ are `without_contradictions`' to settle, before this.
    """
    makers: dict[str, str] = {}
    for finding in sorted(findings, key=lambda each: -int(each.severity)):
        for advice in finding.advice:
            if advice.config_change is not None:
                makers.setdefault(advice.config_change.key, finding.rule)
    return tuple(
        replace(
            finding, advice=tuple(_pointing(each, finding.rule, makers) for each in finding.advice)
        )
        for finding in findings
    )


def _pointing(advice: Advice, rule: str, makers: dict[str, str]) -> Advice:
    change = advice.config_change
    if change is None or makers[change.key] == rule:
        return advice
    text = say(_SAME, rule=makers[change.key], key=change.key, value=_spelled(change))
    return replace(advice, text=text, config_change=None, verify=None)


def _spelled(change: ConfigChange) -> str:
    value = change.proposed
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
