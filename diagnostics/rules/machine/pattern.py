"""What a finding about a machine or a forecast is called and how it is put."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity, Value
from diagnostics.rules.rule import Threshold

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Code, name, the sentence that is filled with a finding's values, documents and limits.

    `docs` is Markdown with the four headings of a rule, in order.
    """

    code: str
    name: str
    summary: str
    docs: str
    limits: Mapping[str, Threshold]
    explains: tuple[str, ...] = ()

    def thresholds(self) -> dict[str, Threshold]:
        """The limits by name, in the order they are written."""
        return dict(self.limits)

    def finding(
        self,
        severity: Severity,
        values: Mapping[str, Value],
        evidence: Sequence[Evidence],
        advice: Sequence[Advice],
        cost_bytes: int | None = None,
    ) -> Finding:
        """A finding of this pattern."""
        return Finding(
            rule=self.code,
            name=self.name,
            severity=severity,
            summary=say(self.summary, **values),
            values=values,
            evidence=tuple(evidence),
            advice=tuple(advice),
            cost_bytes=cost_bytes,
        )
