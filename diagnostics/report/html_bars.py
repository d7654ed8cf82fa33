"""Bars below the rows of the report's tables: shares of a whole, or of the longest row."""

from collections.abc import Iterable, Sequence

from diagnostics.analyses.stage_totals import StageTotal
from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.report import html_words as words
from diagnostics.report.html_charts import COLOURS, colour_of
from diagnostics.report.html_markup import Markup
from diagnostics.report.html_plot import legend
from diagnostics.report.html_table import Bars, Segments
from diagnostics.report.model import Report
from diagnostics.report.terminal_trace import TOP_KERNELS

FORWARD, BACKWARD, RECOMPUTE = (COLOURS[name] for name in ("forward", "backward", "recompute"))
_COMPUTES, _EXCHANGES, _COPIES, _IDLE = 1, 5, 8, 2
_PLAIN, _WAITS = 1, 2


def phase_bars(report: Report) -> list[Bars]:
    """One for each phase; the whole step, last in the table, is as wide as the table."""
    shares = [(each.name, each.share_of_step or 0.0) for each in report.phases]
    rows: list[Segments] = [
        [(share, colour_of(name, place))] for place, (name, share) in enumerate(shares)
    ]
    if report.analysis.breakdown.step is not None:
        rows.append([(row[0][0], row[0][1]) for row in rows])
    return [Bars(rows)]


def stage_bars(report: Report) -> list[Bars]:
    """Forward, backward and recomputation of a stage side by side, or its forward alone."""
    totals = report.analysis.stage_totals
    if totals:
        widest = max(each.total_ms for each in totals)
        return [Bars([_directions(each, widest) for each in totals])]
    shares = [row.time.share_of_forward or 0.0 for row in report.slowest]
    return [_of_longest(shares, FORWARD)]


def stage_legend(report: Report) -> list[Markup]:
    """What the colours of the stages' bars stand for; one colour needs no words."""
    totals = report.analysis.stage_totals
    if not totals:
        return []
    entries = [(f"f{FORWARD}", words.FORWARD), (f"f{BACKWARD}", words.BACKWARD)]
    if any(each.recompute_ms is not None for each in totals):
        entries.append((f"f{RECOMPUTE}", words.RECOMPUTE))
    return [legend(entries)]


def _directions(total: StageTotal, widest_ms: float) -> Segments:
    parts = (
        (total.forward_ms, FORWARD),
        (total.backward_ms, BACKWARD),
        (total.recompute_ms, RECOMPUTE),
    )
    return [(ms / widest_ms, colour) for ms, colour in parts if ms and widest_ms > 0]


def trace_bars(report: Report) -> list[Bars]:
    """In the order of the terminal's tables: the device, causes of idleness, kernels."""
    return [bars for trace in report.analysis.traces for bars in _of_trace(trace)]


def _of_trace(trace: TraceAnalysis) -> Iterable[Bars]:
    found = trace.breakdown
    if found is not None and found.gpu_busy_share is not None:
        shares = (
            (found.compute_share, _COMPUTES),
            (found.communication_exposed_share, _EXCHANGES),
            (found.copy_exposed_share, _COPIES),
            (found.idle_share, _IDLE),
        )
        yield Bars([[(share or 0.0, colour)] for share, colour in shares])
    if trace.idle_causes:
        yield _of_longest([each.share_of_window for each in trace.idle_causes], _WAITS)
    if trace.kernels is not None:
        top = trace.kernels.by_name[:TOP_KERNELS]
        yield _of_longest([each.share for each in top], _PLAIN)


def loading_bars(report: Report) -> list[Bars]:
    """One for each part of making a batch."""
    parts = report.analysis.loading.parts
    return [_of_longest([each.share for each in parts], _PLAIN)] if parts else []


def _of_longest(shares: Sequence[float], colour: int) -> Bars:
    longest = max(shares, default=0.0)
    return Bars([[(share / longest, colour)] if longest > 0 else [] for share in shares])
