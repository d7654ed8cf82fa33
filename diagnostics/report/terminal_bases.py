"""Beside a table of times: of which steps they are, where that is not plain."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from diagnostics.language import say
from diagnostics.report.console import indented
from diagnostics.report.model import Report

OTHER_STEPS = (
    "Stages were recorded in {stages} of the {count} steps: they sum to the {whole} of those, not "
    "to that of the table above ({stages_ms:.1f} and {phases_ms:.1f} ms)."
)
_WHOLES = {"forward": "stages of the forward", "backward": "stages of the backward"}
APART_SHARE = 0.002
"""Of the phase: nearer figures look the same."""


def basis_lines(report: Report) -> Iterator[RenderableType]:
    """Below the phases: what is said of all times by the steps that they are of."""
    for reason in report.analysis.breakdown.reasons if report.phases else ():
        yield indented(reason, style="yellow")


def without_bases(report: Report) -> Sequence[str]:
    """The notes that no table has beside it."""
    told = report.analysis.breakdown.reasons if report.phases else ()
    return [note for note in report.notes if note not in told]


def stage_basis_lines(report: Report) -> Iterator[RenderableType]:
    """Below the stages: that they are of fewer steps than the phases are, where that shows."""
    breakdown = report.analysis.breakdown
    phases = {each.name: each.mean_ms for each in breakdown.phases if each.clock == breakdown.clock}
    for whole, name in _WHOLES.items():
        of_stages = [
            each
            for each in breakdown.stages
            if each.clock == breakdown.clock and each.phase == whole
        ]
        recorded = max((each.count for each in of_stages), default=0)
        closed = {each.name: each for each in breakdown.closures if each.clock == breakdown.clock}
        closure = closed.get(name)
        if closure is None or whole not in phases or recorded >= breakdown.count:
            continue
        if abs(closure.whole_ms - phases[whole]) > APART_SHARE * phases[whole]:
            yield indented(
                say(
                    OTHER_STEPS,
                    stages=recorded,
                    count=breakdown.count,
                    whole=whole,
                    stages_ms=closure.whole_ms,
                    phases_ms=phases[whole],
                ),
                style="yellow",
            )
