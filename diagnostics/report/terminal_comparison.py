"""A run against its baseline, for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.comparison import Comparison, Side
from diagnostics.analyses.comparison_change import Change, Unit
from diagnostics.analyses.comparison_differences import Difference
from diagnostics.analyses.series_mean import SHORT_ROWS
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.comparison_build import AgainstBaseline
from diagnostics.report.console import SEVERITY_STYLES, add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.model import Report

MAX_STAGES = 12
MAX_DIFFERENCES = 10
FEW = 5.0

TITLE = "Compared with the baseline"
SIDE = "{role}: {name}, {count} step(s) used, {excluded} left out ({evidence})"
CHANGED = (
    "The {name} takes {after} ms instead of {before} ms: {change} ms ({share}), "
    "95 % interval {low} to {high} ms."
)
NOT_SHOWN = (
    "No change of the {name} is shown: {before} ms before, {after} ms now, 95 % interval of the "
    "change {low} to {high} ms. A change of {detectable} ms would have been seen."
)
CANNOT_JUDGE = "Cannot judge the {name}: {reason}."
FEW_INDEPENDENT = (
    "Neighbouring steps are alike: {before_count} and {after_count} steps say no more than "
    "{before:.1f} and {after:.1f} independent ones. Longer runs, or a machine with nothing else to "
    "do, would show more."
)
SHORT = "Fewer than {rows} steps cannot show how alike neighbours are: they are taken to be alike."
PER_SAMPLE_DECIDES = "A step does not do the same work as before; the time for a sample decides."
UNLIKE = "Not like with like, so that times may differ for this alone:"
SETTINGS = "Changed settings and work:"
DIFFERENCE = "- {name}: {before} -> {after}"
MORE_DIFFERENCES = "- and {count} more (--json has all of them)"
SUM = "The changes of the phases add up to {parts} of the step's {whole} ms."
TESTED = (
    "Change +/- is the 95 % interval, in ms where no unit stands; 'least' is the smallest change "
    "that would have been shown in 4 of 5 cases. {count} parts and resources were tested together "
    "(Holm): higher or lower is one that shows in spite of that."
)
MORE_STAGES = "{count} more stages, none with a larger change (--json has all of them)."
NO_REGRESSION = "No regression."
NOT_JUDGED = "Whether the run became slower cannot be judged."
REGRESSION = "{severity} {summary}"
NEW_FINDINGS = "New findings: {codes}"
GONE_FINDINGS = "Findings of the baseline that are gone: {codes}"
OUTCOMES = {
    "higher": "higher",
    "lower": "lower",
    "not shown": "-",
    "no interval": "-",
    "cannot judge": "unknown",
}


def comparison_section(report: Report) -> Iterator[RenderableType]:
    """Nothing without a baseline."""
    against = report.against_baseline
    if against is None:
        return
    found = against.comparison
    yield heading(TITLE)
    yield indented(_side("before", found.before))
    yield indented(_side("now", found.after))
    for doubt in against.doubts:
        yield indented(doubt.text, style="yellow")
    yield indented(_sentence(found.headline), style="bold")
    if found.per_sample is not None:
        if found.step.before is not None:
            yield indented(PER_SAMPLE_DECIDES)
        yield indented(_sentence(found.step))
    yield from _few_independent(found)
    yield from _regressions(against)
    yield from _differences(UNLIKE, [each for each in found.differences if each.is_unlike])
    yield from _differences(SETTINGS, [each for each in found.differences if not each.is_unlike])
    yield from _tables(found)


def _side(role: str, side: Side) -> str:
    return say(
        SIDE,
        role=role,
        name=side.run_id or side.source or "(without a name)",
        count=side.count,
        excluded=side.excluded,
        evidence=side.evidence,
    )


def _sentence(change: Change) -> str:
    if change.p_value is None:
        return say(CANNOT_JUDGE, name=change.name, reason=change.reason)
    template = CHANGED if change.is_shown else NOT_SHOWN
    return say(
        template,
        name=change.name,
        before=units.ms(change.before),
        after=units.ms(change.after),
        change=_signed(change.change, "ms"),
        share=_signed_share(change.share),
        low=_signed(change.low, "ms"),
        high=_signed(change.high, "ms"),
        detectable=units.ms(change.detectable),
    )


def _few_independent(found: Comparison) -> Iterator[RenderableType]:
    before, after = found.step.effective_before, found.step.effective_after
    if before is None or after is None or min(before, after) >= FEW:
        return
    if min(found.before.count, found.after.count) < SHORT_ROWS:
        yield indented(say(SHORT, rows=SHORT_ROWS))
        return
    yield indented(
        say(
            FEW_INDEPENDENT,
            before_count=found.before.count,
            after_count=found.after.count,
            before=before,
            after=after,
        )
    )


def _regressions(against: AgainstBaseline) -> Iterator[RenderableType]:
    for each in against.regressions:
        label = each.severity.label
        text = say(REGRESSION, severity=label.upper(), summary=each.summary)
        yield indented(text, style=SEVERITY_STYLES[label])
    if not against.regressions:
        yield indented(NO_REGRESSION if against.is_judged else NOT_JUDGED)
    if against.new_findings:
        codes = listed(each.rule for each in against.new_findings)
        yield indented(say(NEW_FINDINGS, codes=codes))
    if against.gone:
        yield indented(say(GONE_FINDINGS, codes=listed(against.gone)))


def _differences(title: str, differences: Sequence[Difference]) -> Iterator[RenderableType]:
    if not differences:
        return
    yield indented(title)
    for each in differences[:MAX_DIFFERENCES]:
        before, after = each.before or units.UNKNOWN, each.after or units.UNKNOWN
        yield indented(say(DIFFERENCE, name=each.name, before=before, after=after), 4)
    if len(differences) > MAX_DIFFERENCES:
        more = say(MORE_DIFFERENCES, count=len(differences) - MAX_DIFFERENCES)
        yield indented(more, 4)


def _tables(found: Comparison) -> Iterator[RenderableType]:
    phases = [each for each in found.changes if each.kind == "phase"]
    stages = sorted(
        (each for each in found.changes if each.kind == "stage"),
        key=lambda each: -abs(each.change or 0.0),
    )
    resources = [each for each in found.changes if each.kind == "resource"]
    whole = [*phases, *([found.step] if phases else []), *resources]
    for part in (whole, stages[:MAX_STAGES]):
        if part:
            yield Padding(_table(part), (1, 0, 0, 2))
    if len(stages) > MAX_STAGES:
        yield indented(say(MORE_STAGES, count=len(stages) - MAX_STAGES))
    if found.step.change is not None and found.unexplained_ms is not None:
        parts = _signed(found.step.change - found.unexplained_ms, "ms")
        yield indented(say(SUM, parts=parts, whole=_signed(found.step.change, "ms")))
    if found.num_tests:
        yield indented(say(TESTED, count=found.num_tests), style="dim")


def _table(changes: Sequence[Change]) -> RenderableType:
    rows = make_table("part", "before", "now", "change", "+/-", "least", "result ")
    for each in changes:
        add_row(
            rows,
            say("{part} {direction}", part=each.name, direction=each.direction)
            if each.direction
            else each.name,
            _value(each.before, each.unit),
            _value(each.after, each.unit),
            *_of_change(each),
            OUTCOMES[each.outcome],
            style="bold" if each.kind == "step" else "",
        )
    return rows


def _of_change(each: Change) -> tuple[str, str, str]:
    """The change and its bounds; of a rate with the digits of the rate itself."""
    if each.unit == "samples/s":
        like = each.before
        change, bounds = units.rate(each.change, like), (each.margin, each.detectable)
        sign = "+" if each.change is not None and each.change > 0 else ""
        return f"{sign}{change}", units.rate(bounds[0], like), units.rate(bounds[1], like)
    margin, least = _value(each.margin, each.unit), _value(each.detectable, each.unit)
    return _signed(each.change, each.unit), margin, least


def _value(value: float | None, unit: Unit) -> str:
    if unit == "bytes":
        return units.size(value)
    if unit == "percent":
        return units.UNKNOWN if value is None else f"{value:.1f} %"
    return units.ms(value) if unit == "ms" else units.rate(value)


def _signed(value: float | None, unit: Unit) -> str:
    text = _value(value, unit)
    return f"+{text}" if value is not None and value > 0 else text


def _signed_share(share: float | None) -> str:
    return units.UNKNOWN if share is None else f"{share:+.1%}"
