"""What every rule is made of: a code, a name, documentation, thresholds and a check."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from inspect import get_annotations
from typing import ClassVar, Protocol, TypeAlias

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Finding, NotEvaluated, Severity, Value
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.thresholds import Threshold as Threshold
from diagnostics.rules.thresholds import limits_of

HEADINGS = ("What it measures", "Why it matters", "What to try", "False alarms")

Outcome: TypeAlias = Finding | NotEvaluated | None
"""A finding; or why there can be none; or None: looked, and all is well."""


class Documented(Protocol):
    """What has a page: rules, and the patterns that are looked for in a machine or a forecast."""

    @property
    def code(self) -> str:
        """Family and three digits."""
        ...

    @property
    def name(self) -> str:
        """The pattern in words."""
        ...

    @property
    def summary(self) -> str:
        """The template of its sentence."""
        ...

    @property
    def docs(self) -> str:
        """Markdown with the four `HEADINGS` in order."""
        ...

    @property
    def explains(self) -> tuple[str, ...]:
        """Codes of its symptoms."""
        ...

    def thresholds(self) -> dict[str, Threshold]:
        """Its limits by name."""
        ...


class Rule(ABC):
    """One check over measurements.

    A subclass sets the class attributes, names its limits as `at_warn: ClassVar[Threshold]`, whose
    values stand in `thresholds.toml`, and implements `check`. `summary` is a template filled with
    the finding's values; `docs` is Markdown with the four `HEADINGS` in order. `explains` names the
    rules whose findings are symptoms of this one.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    summary: ClassVar[str]
    docs: ClassVar[str]
    explains: ClassVar[tuple[str, ...]] = ()
    reads_trace: ClassVar[bool] = False
    """Looks at profiler traces: how far to trust it is how far to trust those."""
    for_our_trainer: ClassVar[bool] = False
    """Says nothing of another's training loop, whose network its limits do not know."""
    costs_outside_steps: ClassVar[bool] = False
    """Its cost lies between steps and is only shared among them: they keep their own time."""
    lies_outside: ClassVar[bool] = False
    """Its cause is none of the run's: stands behind what is critical and can be followed, and
    behind a leak; it falsifies times."""
    is_leak: ClassVar[bool] = False
    """What it finds goes on until nothing is left, whoever else uses the machine."""

    def __init_subclass__(cls) -> None:
        """Fills the limits that the class names.

        Raises:
            KeyError: `thresholds.toml` does not have one of them.
        """
        super().__init_subclass__()
        for name, kind in get_annotations(cls).items():
            if kind == ClassVar[Threshold]:
                setattr(cls, name, limits_of(cls.code)[name])

    @abstractmethod
    def check(self, measured: Measurements) -> Outcome:
        """Look at one run. Pure: opens no file, keeps nothing."""

    @classmethod
    def thresholds(cls) -> dict[str, Threshold]:
        """The limits of this rule by attribute name, in the order they are written."""
        return {name: value for name, value in vars(cls).items() if isinstance(value, Threshold)}

    def grade(self, value: float) -> Severity | None:
        """The severity by whichever of `at_note`, `at_warn` and `at_critical` the rule has."""
        limits = self.thresholds()
        names = {
            "at_note": Severity.NOTE,
            "at_warn": Severity.WARN,
            "at_critical": Severity.CRITICAL,
        }
        return graded(value, *((limits[n], level) for n, level in names.items() if n in limits))

    def lowest_limit(self) -> float:
        """The limit from which on the rule fires."""
        limits = self.thresholds()
        return limits["at_note" if "at_note" in limits else "at_warn"].value

    def finding(
        self,
        severity: Severity,
        values: Mapping[str, Value],
        evidence: tuple[Evidence, ...],
        advice: tuple[Advice, ...] = (),
        *,
        cost_ms_per_step: float | None = None,
        cost_bytes: int | None = None,
    ) -> Finding:
        """A finding of this rule, its summary filled with `values`."""
        return Finding(
            rule=self.code,
            name=self.name,
            severity=severity,
            summary=say(self.summary, **values),
            values=values,
            cost_ms_per_step=cost_ms_per_step,
            cost_bytes=cost_bytes,
            evidence=evidence,
            advice=advice,
            explains=self.explains,
        )

    def not_evaluated(self, reason: str, record_next: str | None = None) -> NotEvaluated:
        """The answer of this rule when something it needs is missing."""
        return NotEvaluated(rule=self.code, name=self.name, reason=reason, record_next=record_next)


def graded(value: float, *limits: tuple[Threshold, Severity]) -> Severity | None:
    """The severity of the highest limit that `value` reaches, or None below all of them."""
    reached = [severity for limit, severity in limits if value >= limit.value]
    return max(reached, default=None)
