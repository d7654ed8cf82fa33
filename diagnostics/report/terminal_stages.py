"""The stages of the network, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.stage_totals import StageTotal
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.fitting_table import Bar
from diagnostics.report.model import Report
from diagnostics.report.terminal_bases import stage_basis_lines


def stages_section(report: Report) -> Iterator[RenderableType]:
    """Forward, backward and recomputation of each stage; the forward alone if no more is known."""
    if report.analysis.stage_totals:
        yield from _all_directions(report)
    elif report.slowest:
        yield from _forward(report)


def _all_directions(report: Report) -> Iterator[RenderableType]:
    totals = report.analysis.stage_totals
    priorities = {each.name: each.priority for each in report.analysis.ranking.stages}
    recomputes = any(each.recompute_ms is not None for each in totals)
    again = ("recompute",) if recomputes else ()
    rows = make_table("stage", "forward", "backward", *again, "total ms", "share", "priority ")
    for each in totals:
        add_row(
            rows,
            each.name,
            units.ms(each.forward_ms),
            units.ms(each.backward_ms),
            *((units.ms(each.recompute_ms),) if recomputes else ()),
            units.ms(each.total_ms),
            units.share(each.share),
            priorities.get(each.name, ""),
            bar=_directions(each),
        )
    yield heading(
        say("Slowest stages, forward and backward ({clock} clock)", clock=totals[0].clock)
    )
    yield Padding(rows, (0, 0, 0, 2))
    yield from closure_lines(report, "stages of the forward")
    yield from closure_lines(report, "stages of the backward")
    yield from stage_basis_lines(report)


def _directions(total: StageTotal) -> Bar:
    return (
        ("forward", total.forward_ms),
        ("backward", total.backward_ms),
        ("recompute", total.recompute_ms),
    )


def _forward(report: Report) -> Iterator[RenderableType]:
    rows = make_table("stage", "mean ms", "median", "p95", "share of forward", "priority ")
    for row in report.slowest:
        stage = row.time
        add_row(
            rows,
            stage.name,
            *(units.ms(value) for value in (stage.mean_ms, stage.median_ms, stage.p95_ms)),
            units.share(stage.share_of_forward),
            row.priority or "",
            bar=(("forward", stage.mean_ms),),
        )
    yield heading(
        say("Slowest stages of the forward ({clock} clock)", clock=report.slowest[0].time.clock)
    )
    yield Padding(rows, (0, 0, 0, 2))
    yield from closure_lines(report, "stages of the forward")
    yield from stage_basis_lines(report)


def closure_lines(report: Report, name: str) -> Iterator[RenderableType]:
    """Whether parts sum to their whole."""
    for closure in report.analysis.breakdown.closures:
        if closure.name == name and closure.clock == report.analysis.breakdown.clock:
            yield indented(
                say(
                    "The {name} sum to {parts_ms} of {whole_ms} ms ({difference_share:.2%} apart).",
                    name=name,
                    parts_ms=units.ms(closure.parts_ms),
                    whole_ms=units.ms(closure.whole_ms),
                    difference_share=closure.difference_share,
                ),
                style="dim" if closure.holds else "yellow",
            )
