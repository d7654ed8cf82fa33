"""Why a report is to be trusted, or not, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.language import say
from diagnostics.report.console import indented
from diagnostics.report.model import Trust

CHECKED = "checked and sound: {count} properties of the input (--json names them)"
OF_TRACE = "trust of the trace: {grade}"
ROUGH = "C"
"""At D the verdict itself says what to record."""


def trust_lines(trust: Trust) -> Iterator[RenderableType]:
    """The reasons; the grade of a trace beside facts; how many checks found nothing."""
    for reason in trust.reasons:
        yield indented(say("- {reason}", reason=reason))
    if trust.trace_grade is not None and trust.trace_grade != trust.grade:
        yield indented(say(OF_TRACE, grade=trust.trace_grade))
    if trust.passed:
        yield indented(say(CHECKED, count=len(trust.passed)), style="dim")
    if trust.grade == ROUGH and trust.record_next is not None:
        yield indented(trust.record_next)
