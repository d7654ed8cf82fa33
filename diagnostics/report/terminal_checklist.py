"""The checklist, for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import heading, indented
from diagnostics.rules.checklist import ChecklistItem

TITLE = "Checklist"
COUNTS = "{passed} passed, {failed} failed, {unknown} not measured."
STATUSES = {"pass": "pass", "fail": "FAIL", "not_measured": "not measured"}
STYLES = {"pass": "green", "fail": "bold red", "not_measured": "dim"}
LINE = "[{status}] {item}: {said}"
MEASURED = "{value}, {bound} {limit}"
NOTED = "{said} ({note})"
READ_FROM = "{said} [{source}]"


def checklist_section(items: Sequence[ChecklistItem]) -> Iterator[RenderableType]:
    """Every item on a line of its own, by group; nothing without items."""
    if not items:
        return
    yield heading(TITLE)
    statuses = [each.status for each in items]
    counts = {name: statuses.count(name) for name in STATUSES}  # type: ignore[arg-type]
    yield indented(
        say(COUNTS, passed=counts["pass"], failed=counts["fail"], unknown=counts["not_measured"])
    )
    group = None
    for each in items:
        if each.group != group:
            group = each.group
            yield indented(say("{group}:", group=group))
        yield indented(_line(each), 4, STYLES[each.status])


def _line(each: ChecklistItem) -> str:
    said = each.note or ""
    if each.value is not None:
        said = units.with_unit(each.value, each.unit)
        if each.limit is not None:
            limit = units.with_unit(each.limit, each.unit)
            said = say(MEASURED, value=said, bound=each.bound, limit=limit)
        if each.note:
            said = say(NOTED, said=said, note=each.note)
    if each.source:
        said = say(READ_FROM, said=said, source=each.source)
    return say(LINE, status=STATUSES[each.status], item=each.item, said=said)
