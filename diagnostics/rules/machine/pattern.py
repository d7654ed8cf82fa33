"""What a finding about a machine or a forecast is called and how it is put."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diagnostics.rules.finding import Advice, Evidence, Finding, Severity, Value

GIB = 1 << 30


@dataclass(frozen=True)
class Pattern:
    """Code, name and the sentence that is filled with a finding's values."""

    code: str
    name: str
    summary: str

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
            summary=self.summary.format(**values),
            values=values,
            evidence=tuple(evidence),
            advice=tuple(advice),
            cost_bytes=cost_bytes,
        )
