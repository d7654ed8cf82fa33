"""The priority partition of a trace's window: one bar, and its parts as a table."""

from diagnostics.analyses.trace_summary import TraceSummary
from diagnostics.report import html_words as words
from diagnostics.report import units
from diagnostics.report.html_colours import colour_of
from diagnostics.report.html_markup import Markup, element
from diagnostics.report.html_plot import bar
from diagnostics.report.html_table import table


def partition_parts(found: TraceSummary | None) -> list[Markup]:
    """Nothing without a trace that shows steps."""
    if found is None or not found.partition:
        return []
    parts = [
        (part.name, part.share, colour_of(part.name, place))
        for place, part in enumerate(found.partition)
    ]
    return [
        element("p", words.PARTITION_SAYS),
        element("div", bar((share, colour) for _, share, colour in parts), class_="whole"),
        table(
            words.PARTITION_CHART,
            (words.PART, words.SHARE),
            [(name, units.share(share)) for name, share, _ in parts],
            bars=[[(share, colour)] for _, share, colour in parts],
        ),
    ]
