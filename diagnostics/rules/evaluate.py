"""Runs the rules over the measurements of a run; ranks what they find. Pure.

A rule that raises is a bug in the rule, and its traceback is left to be seen.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from diagnostics.rules.contradictions import without_contradictions
from diagnostics.rules.finding import Ceiling, Finding, NotEvaluated, Severity
from diagnostics.rules.framework_advice import in_the_trainers_words
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import OTHER_TRAINER, OWN_LOOP
from diagnostics.rules.rule import Outcome, Rule
from diagnostics.rules.what_to_record import asked_rightly

ACCOUNTS_FOR = 0.5
"""A cause that costs less than this share of a symptom leaves most of it unexplained (gpu-idle)."""


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
    rules = tuple(rules)
    outside = {rule.code for rule in rules if rule.lies_outside}
    leaks = {rule.code for rule in rules if rule.is_leak}
    for rule in rules:
        outcome = _ask(rule, measured)
        if isinstance(outcome, Finding):
            found.append(outcome)
        elif isinstance(outcome, NotEvaluated):
            unanswered.append(outcome)
        else:
            passed.append(rule.code)
    return Evaluation(
        findings=without_contradictions(_ordered(_fold(rank(found)), outside, leaks)),
        not_evaluated=tuple(sorted(unanswered, key=lambda item: item.rule)),
        passed=tuple(sorted(passed)),
    )


def _ask(rule: Rule, measured: Measurements) -> Outcome:
    if rule.for_our_trainer and measured.is_own_loop:
        return rule.not_evaluated(OWN_LOOP)
    if rule.for_our_trainer and measured.is_trainer_unknown:
        return rule.not_evaluated(OTHER_TRAINER)
    outcome = rule.check(measured)
    if isinstance(outcome, Finding):
        told = in_the_trainers_words(outcome, measured)
        return replace(told, ceiling=_ceiling(told, _step_ms(rule, measured, told)))
    return asked_rightly(outcome, measured) if isinstance(outcome, NotEvaluated) else outcome


def _step_ms(rule: Rule, measured: Measurements, finding: Finding) -> float | None:
    """What a finding's cost is a part of: a step of the traces, or of all that was recorded.

    With what a step's share of the time outside of steps is, where that is the cost.
    """
    trace = measured.in_trace
    if rule.costs_outside_steps and measured.step_ms:
        return measured.step_ms + (finding.cost_ms_per_step or 0.0)
    return trace.step_ms if rule.reads_trace and trace is not None else measured.step_ms


def _ceiling(finding: Finding, step_ms: float | None) -> Ceiling | None:
    cost_ms = finding.cost_ms_per_step
    if cost_ms is None or not step_ms or cost_ms <= 0:
        return None
    without_ms = max(0.0, step_ms - cost_ms)
    speedup = step_ms / without_ms if without_ms else None
    return Ceiling(step_ms=step_ms, without_ms=without_ms, speedup=speedup)


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What stops or falsifies a run first, then by recoverable ms per step, then by bytes."""
    return tuple(sorted(findings, key=_rank_key))


def _rank_key(finding: Finding) -> tuple[bool, float, int, int, str]:
    return (
        not _stops_the_run(finding),
        -(finding.cost_ms_per_step or 0.0),
        -int(finding.severity),
        -(finding.cost_bytes or 0),
        finding.rule,
    )


def _stops_the_run(finding: Finding) -> bool:
    return finding.severity is Severity.CRITICAL and finding.cost_ms_per_step is None


def _fold(ranked: Sequence[Finding]) -> tuple[Finding, ...]:
    """Keep in `explains` what is in this report, and move explained findings to the end.

    A note explains nothing, and causes that cost less than half of a symptom do not explain it: a
    small cause is no excuse for a large symptom.
    """
    explained = {finding.rule for finding in ranked if _is_explained(finding, ranked)}
    kept = [
        replace(finding, explains=tuple(code for code in finding.explains if code in explained))
        if finding.severity >= Severity.WARN
        else replace(finding, explains=())
        for finding in ranked
    ]
    causes = [finding for finding in kept if finding.rule not in explained]
    return (*causes, *(finding for finding in kept if finding.rule in explained))


def _ordered(
    folded: Sequence[Finding], outside: Collection[str], leaks: Collection[str]
) -> tuple[Finding, ...]:
    """With causes that the reader cannot remove behind what is critical.

    Where they falsify the run's times, a leak comes before whatever was told from times: it costs
    none, and is as sure as on a quiet machine.
    """
    found = _outside_behind(folded, outside)
    symptoms = {code for finding in found for code in finding.explains}
    serious = [each for each in found if each.severity >= Severity.WARN]
    lasting = {each.rule for each in serious if each.rule in leaks} - symptoms
    if not any(each.rule in outside for each in serious):
        return found
    stopping = {each.rule for each in found if _stops_the_run(each)} - symptoms
    return tuple(sorted(found, key=lambda e: 0 if e.rule in stopping else 2 - (e.rule in lasting)))


def _outside_behind(folded: Sequence[Finding], outside: Collection[str]) -> tuple[Finding, ...]:
    """Causes that the reader cannot remove, behind the last CRITICAL one with an advice to follow.

    Symptoms stay at the end.
    """
    symptoms = {code for finding in folded for code in finding.explains}
    followed = [
        place
        for place, finding in enumerate(folded)
        if finding.severity is Severity.CRITICAL
        and finding.advice
        and finding.rule not in symptoms | set(outside)
    ]
    end = followed[-1] + 1 if followed else 0
    moved = [finding for finding in folded[:end] if finding.rule in outside]
    stayed = [finding for finding in folded[:end] if finding.rule not in outside]
    return (*stayed, *moved, *folded[end:])


def _is_explained(symptom: Finding, ranked: Sequence[Finding]) -> bool:
    causes = [
        finding
        for finding in ranked
        if symptom.rule in finding.explains and finding.severity >= Severity.WARN
    ]
    costs = [finding.cost_ms_per_step for finding in causes]
    if not causes or symptom.cost_ms_per_step is None or None in costs:
        return bool(causes)
    known = sum(cost for cost in costs if cost is not None)
    return known >= ACCOUNTS_FOR * symptom.cost_ms_per_step
