"""No advice of a report contradicts another: what keeps a run alive goes before its speed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange, Direction, Finding, SettingValue

_NEEDS_SWITCH = {"DATA.CACHE_SIZE_GB": "DATA.USE_RAM_CACHE"}
"""A key that means nothing once the switch is off."""
_GOES_FIRST = "The advice of {rule} goes first: {key} = {value}."
_OPPOSITE = "The advice of {rule} goes first: less {what}."
_NEEDED = "The advice of {rule} goes first: more {what}."


@dataclass(eq=False)
class _Wanted:
    """What findings of higher rank want: values of switches, and more or less of something."""

    values: dict[str, tuple[str, SettingValue]] = field(default_factory=dict)
    towards: dict[str, tuple[str, Direction]] = field(default_factory=dict)

    def take(self, rule: str, advice: Advice) -> None:
        if self.overruling(advice) is not None:
            return
        change = advice.config_change
        if change is not None:
            self.values.setdefault(change.key, (rule, change.proposed))
        if advice.towards is not None:
            what, direction = advice.towards
            self.towards.setdefault(what, (rule, direction))

    def overruling(self, advice: Advice) -> str | None:
        """What is said instead of an advice that contradicts one of higher rank."""
        by_value = self._other_value(advice.config_change)
        if by_value is not None or advice.towards is None:
            return by_value
        what, direction = advice.towards
        rule, wanted = self.towards.get(what, ("", direction))
        if wanted == direction:
            return None
        return say(_OPPOSITE if wanted == "less" else _NEEDED, rule=rule, what=what)

    def _other_value(self, change: ConfigChange | None) -> str | None:
        if change is None:
            return None
        switch = _NEEDS_SWITCH.get(change.key)
        if switch in self.values and self.values[switch][1] is False:
            return say(_GOES_FIRST, rule=self.values[switch][0], key=switch, value="false")
        rule, value = self.values.get(change.key, ("", change.proposed))
        if value == change.proposed:
            return None
        return say(_GOES_FIRST, rule=rule, key=change.key, value=str(value).lower())


def without_contradictions(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Drop an advice that wants the opposite of an advice of higher rank.

    Memory that ends the run outranks speed, so the advice to lower a switch wins over the advice
    to raise it when both are given, and the advice that frees memory over one that takes more. A
    finding that loses all its advice names the one that goes first.
    """
    wanted = _Wanted()
    for finding in sorted(findings, key=_safety_key):
        for advice in finding.advice:
            wanted.take(finding.rule, advice)
    return tuple(_without_overruled(finding, wanted) for finding in findings)


def _without_overruled(finding: Finding, wanted: _Wanted) -> Finding:
    overruling = [wanted.overruling(item) for item in finding.advice]
    pairs = zip(finding.advice, overruling, strict=True)
    kept = tuple(item for item, overruled in pairs if overruled is None)
    if not kept:
        said = dict.fromkeys(each for each in overruling if each is not None)
        kept = tuple(Advice(text=each) for each in said)
    return replace(finding, advice=kept)


def _safety_key(finding: Finding) -> tuple[bool, int]:
    return finding.cost_bytes is None, -int(finding.severity)
