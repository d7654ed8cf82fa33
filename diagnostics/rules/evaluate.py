"""Runs the rules over the measurements of a run; ranks what they find. Pure.

A rule that raises is a bug in the rule, and its traceback is left to be seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from diagnostics.language import say
from diagnostics.rules.finding import (
    Advice,
    ConfigChange,
    Finding,
    NotEvaluated,
    SettingValue,
    Severity,
)
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import OWN_LOOP
from diagnostics.rules.rule import Outcome, Rule

Wanted: TypeAlias = dict[str, tuple[str, SettingValue]]
"""By key of the configuration: the rule whose advice counts, and the value it proposes."""

_NEEDS_SWITCH = {"DATA.CACHE_SIZE_GB": "DATA.USE_RAM_CACHE"}
"""A key that means nothing once the switch is off."""
_GOES_FIRST = "The advice of {rule} goes first: {key} = {value}."


@dataclass(frozen=True)
class Evaluation:
    """What the rules said: causes by rank, then the symptoms they explain; and who could not look.

    `passed` holds the codes of the rules that looked and found nothing.
    """

    findings: tuple[Finding, ...]
    not_evaluated: tuple[NotEvaluated, ...]
    passed: tuple[str, ...]

    @property
    def causes(self) -> tuple[Finding, ...]:
        """The findings that no other finding explains."""
        folded = {code for finding in self.findings for code in finding.explains}
        return tuple(finding for finding in self.findings if finding.rule not in folded)


def evaluate(rules: Iterable[Rule], measured: Measurements) -> Evaluation:
    """Ask every rule once; the order of `rules` does not change the result."""
    found: list[Finding] = []
    unanswered: list[NotEvaluated] = []
    passed: list[str] = []
    for rule in rules:
        outcome = _ask(rule, measured)
        if isinstance(outcome, Finding):
            found.append(outcome)
        elif isinstance(outcome, NotEvaluated):
            unanswered.append(outcome)
        else:
            passed.append(rule.code)
    return Evaluation(
        findings=without_contradictions(_fold(rank(found))),
        not_evaluated=tuple(sorted(unanswered, key=lambda item: item.rule)),
        passed=tuple(sorted(passed)),
    )


def _ask(rule: Rule, measured: Measurements) -> Outcome:
    if measured.is_own_loop and rule.for_our_trainer:
        return rule.not_evaluated(OWN_LOOP)
    return rule.check(measured)


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What stops or falsifies a run first, then by recoverable ms per step, then by bytes."""
    return tuple(sorted(findings, key=_rank_key))


def _rank_key(finding: Finding) -> tuple[bool, float, int, int, str]:
    stops_the_run = finding.severity is Severity.CRITICAL and finding.cost_ms_per_step is None
    return (
        not stops_the_run,
        -(finding.cost_ms_per_step or 0.0),
        -int(finding.severity),
        -(finding.cost_bytes or 0),
        finding.rule,
    )


def _fold(ranked: Sequence[Finding]) -> tuple[Finding, ...]:
    """Keep in `explains` what is in this report, and move explained findings to the end.

    A note explains nothing: a small cause is no excuse for a large symptom.
    """
    present = {finding.rule for finding in ranked}
    kept = [
        replace(finding, explains=tuple(code for code in finding.explains if code in present))
        if finding.severity >= Severity.WARN
        else replace(finding, explains=())
        for finding in ranked
    ]
    folded = {code for finding in kept for code in finding.explains}
    causes = [finding for finding in kept if finding.rule not in folded]
    return (*causes, *(finding for finding in kept if finding.rule in folded))


def without_contradictions(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Drop an advice that sets a switch differently from an advice of higher rank.

    Memory that ends the run outranks speed, so the advice to lower a switch wins over the advice
    to raise it when both are given. A finding that loses all its advice names the one that goes
    first.
    """
    wanted: Wanted = {}
    for finding in sorted(findings, key=_safety_key):
        for advice in finding.advice:
            change = advice.config_change
            if change is not None and _overruling(change, wanted) is None:
                wanted.setdefault(change.key, (finding.rule, change.proposed))
    return tuple(_without_overruled(finding, wanted) for finding in findings)


def _without_overruled(finding: Finding, wanted: Wanted) -> Finding:
    overruling = [_overruling(item.config_change, wanted) for item in finding.advice]
    pairs = zip(finding.advice, overruling, strict=True)
    kept = tuple(item for item, overruled in pairs if overruled is None)
    others = dict.fromkeys(each for each in overruling if each is not None)
    if not kept:
        kept = tuple(
            Advice(text=say(_GOES_FIRST, rule=each[0], key=each[1], value=each[2]))
            for each in others
        )
    return replace(finding, advice=kept)


def _overruling(change: ConfigChange | None, wanted: Wanted) -> tuple[str, str, str] | None:
    """Rule, key and value of the advice of higher rank that this change contradicts, if any."""
    if change is None:
        return None
    switch = _NEEDS_SWITCH.get(change.key)
    if switch in wanted and wanted[switch][1] is False:
        return wanted[switch][0], switch, "false"
    rule, value = wanted.get(change.key, ("", change.proposed))
    return None if value == change.proposed else (rule, change.key, str(value).lower())


def _safety_key(finding: Finding) -> tuple[bool, int]:
    return finding.cost_bytes is None, -int(finding.severity)
