"""What an audit finds: doubts about an input, each with the grade that it still allows.

A doubt is data: the check, its values and where it was seen. Its sentence, with what it does to
the report, stands in `diagnostics.report.audit_words`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Grade = Literal["A", "B", "C", "D"]
About = Literal["steps", "trace"]
Limits: TypeAlias = Mapping[Grade, float]
"""The values from which on a grade is the best that is left."""


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One check that did not pass. `value` is what it measured, held against `limit`."""

    check: str
    grade: Grade
    about: About
    source: str
    value: float
    limit: float
    values: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The doubts about an input, and the checks that looked and found nothing."""

    doubts: tuple[Doubt, ...] = ()
    passed: tuple[str, ...] = ()

    @classmethod
    def of(cls, parts: Iterable["Audit"]) -> "Audit":
        """Several audits as one; a check passed only if no part doubts it."""
        parts = tuple(parts)
        doubts = tuple(doubt for part in parts for doubt in part.doubts)
        doubted = {doubt.check for doubt in doubts}
        passed = {check for part in parts for check in part.passed} - doubted
        return cls(doubts=doubts, passed=tuple(sorted(passed)))


@dataclass(eq=False)
class Auditor:
    """Collects what checks of one input measure."""

    about: About
    source: str
    limits: Mapping[str, Limits]
    doubts: list[Doubt] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    def judge(self, check: str, value: float | None, **values: float | int | str) -> None:
        """Hold a value against the check's limits; None could not be measured and says nothing."""
        if value is None:
            return
        reached = [(grade, limit) for grade, limit in self.limits[check].items() if value >= limit]
        if not reached:
            self.passed.append(check)
            return
        grade, limit = max(reached)
        self.doubts.append(
            Doubt(
                check=check,
                grade=grade,
                about=self.about,
                source=self.source,
                value=value,
                limit=limit,
                values=values,
            )
        )

    def audit(self) -> Audit:
        """What was found."""
        return Audit(doubts=tuple(self.doubts), passed=tuple(self.passed))
