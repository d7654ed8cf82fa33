"""The report as Markdown, for TensorBoard's text tab."""

import re
from collections.abc import Iterator, Sequence

from diagnostics.language import listed, say, spoken
from diagnostics.printable import printable
from diagnostics.report import units
from diagnostics.report.model import Report
from diagnostics.report.trace_phase_words import phase_notes
from diagnostics.rules.finding import Finding

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&!~])")


def to_markdown(report: Report) -> str:
    """The report as Markdown; whatever a name holds, it stays text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    info, breakdown = report.info, report.analysis.breakdown
    yield f"# {_text(info.run_id or 'run without a name')}"
    yield ""
    yield f"**{_text(report.verdict.text)}**"
    yield ""
    reasons = listed(report.trust.reasons, "; ")
    told = say(
        "{count} step(s) used, {excluded} left out; clock {clock}; trust {grade}{reasons}.",
        count=breakdown.count,
        excluded=breakdown.excluded,
        clock=breakdown.clock or "unknown",
        grade=report.trust.grade,
        reasons=say(": {reasons}", reasons=reasons) if reasons else "",
    )
    yield _text(told)
    yield from _phases(report)
    yield from _stages(report)
    yield from _findings(report)
    yield from _not_evaluated(report)


def _phases(report: Report) -> Iterator[str]:
    if not report.phases:
        return
    rows = [
        (each.name, *_times(each.mean_ms, each.median_ms, each.p95_ms, each.share_of_step))
        for each in report.phases
    ]
    yield from _table("Phases of the step", ("phase", "mean ms", "median", "p95", "share"), rows)
    yield from map(_text, phase_notes(report))


def _stages(report: Report) -> Iterator[str]:
    if report.analysis.stage_totals:
        yield from _stage_totals(report)
        return
    if not report.slowest:
        return
    rows = []
    for row in report.slowest:
        time = row.time
        cells = _times(time.mean_ms, time.median_ms, time.p95_ms, time.share_of_forward)
        rows.append((time.name, *cells, row.priority or ""))
    header = ("stage", "mean ms", "median", "p95", "share of forward", "priority")
    yield from _table("Slowest stages of the forward", header, rows)


def _stage_totals(report: Report) -> Iterator[str]:
    rows = []
    for each in report.analysis.stage_totals:
        times = (each.forward_ms, each.backward_ms, each.recompute_ms, each.total_ms)
        rows.append((each.name, *map(units.ms, times), units.share(each.share)))
    header = ("stage", "forward ms", "backward ms", "recompute ms", "total ms", "share")
    yield from _table("Slowest stages, forward and backward", header, rows)


def _times(mean_ms: float, median_ms: float, p95_ms: float, share: float | None) -> tuple[str, ...]:
    return units.ms(mean_ms), units.ms(median_ms), units.ms(p95_ms), units.share(share)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from ("", f"## {spoken(title)}", "")
    yield f"| {' | '.join(map(spoken, header))} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(_text(cell) for cell in row)} |"


def _findings(report: Report) -> Iterator[str]:
    yield from ("", f"## {spoken('Findings')}", "")
    if not report.causes:
        yield spoken("None.")
    for place, finding in enumerate(report.causes, start=1):
        yield from _finding(place, finding)


def _finding(place: int, finding: Finding) -> Iterator[str]:
    yield (
        f"{place}. **{spoken(finding.severity.label)} {finding.rule} {_text(finding.name)}** "
        f"{_text(finding.summary)}"
    )
    for advice in finding.advice:
        change = advice.config_change
        switch = (
            ""
            if change is None
            else say(
                " ({key}: {current} to {proposed})",
                key=change.key,
                current=change.current,
                proposed=change.proposed,
            )
        )
        yield f"    - {_text(say('{text}{switch}', text=advice.text, switch=switch))}"
    if finding.explains:
        yield f"    - {_text(say('explains {codes}', codes=listed(finding.explains)))}"


def _not_evaluated(report: Report) -> Iterator[str]:
    yield from ("", f"## {spoken('Not evaluated')}", "")
    if not report.not_evaluated:
        yield spoken("Every rule could look.")
    for item in report.not_evaluated:
        told = say("{rule} {name}: {reason}", rule=item.rule, name=item.name, reason=item.reason)
        yield f"- {_text(told)}"


def _text(text: str) -> str:
    """A text in the reader's language; every sign that could mean something is escaped."""
    return _SPECIAL.sub(r"\\\1", printable(spoken(text), limit=2000))
