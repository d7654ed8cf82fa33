"""The rules that did not fire: which looked, and which could not, why, and what to record."""

from collections.abc import Sequence

from diagnostics.language import listed, say
from diagnostics.report import html_words as words
from diagnostics.report.html_markup import Markup, element, prose
from diagnostics.report.html_table import table
from diagnostics.rules.finding import NotEvaluated


def rules_parts(passed: Sequence[str], not_evaluated: Sequence[NotEvaluated]) -> list[Markup]:
    """Rules that could not look for the same reason share a row."""
    parts = []
    if passed:
        parts.append(element("p", say(words.PASSED, passed=listed(passed))))
    if not_evaluated:
        parts.append(_reasons(not_evaluated))
    return [*parts, element("p", prose(words.EXPLAIN), class_="dim")]


def _reasons(not_evaluated: Sequence[NotEvaluated]) -> Markup:
    by_reason: dict[tuple[str, str | None], list[str]] = {}
    for item in not_evaluated:
        by_reason.setdefault((item.reason, item.record_next), []).append(item.rule)
    rows = [
        (prose(reason), element("span", listed(codes), class_="code"), prose(record_next or ""))
        for (reason, record_next), codes in by_reason.items()
    ]
    header = (words.WHY_NOT, words.RULES, words.RECORD_NEXT)
    return table(words.NOT_EVALUATED, header, rows, text_columns=(0, 1, 2), is_caption_shown=True)
