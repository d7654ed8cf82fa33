"""Tables of an HTML page: every one has a caption, and scopes for its headers."""

from collections.abc import Sequence

from diagnostics.language import say
from diagnostics.report.html_markup import Child, Markup, element, join, text
from diagnostics.report.html_plot import bar
from diagnostics.report.html_words import AS_TABLE

Segments = Sequence[tuple[float, int]]


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    bars: Sequence[Segments] = (),
    text_columns: Sequence[int] = (0,),
    is_caption_shown: bool = False,
) -> Markup:
    """A table whose first column names its rows; columns not in `text_columns` are figures.

    The caption is for screen readers where a heading above says the same. `bars` are drawn below
    the names of the rows, as (share of the width, colour).
    """
    head = [
        element("th", name, scope="col", class_=None if place in text_columns else "n")
        for place, name in enumerate(header)
    ]
    body = [
        _row(cells, text_columns, bars[place] if bars else None) for place, cells in enumerate(rows)
    ]
    said = element("caption", caption, class_=None if is_caption_shown else "unseen")
    made = element(
        "table",
        said,
        element("thead", element("tr", head)),
        element("tbody", body),
        class_="with-bars" if bars else None,
    )
    return element("div", made, class_="scroll", data_name=text(caption))


def _row(cells: Sequence[Child], text_columns: Sequence[int], drawn: Segments | None) -> Markup:
    first = join(cells[0], bar(drawn) if drawn is not None else None)
    rest = [
        element("td", cell, class_=None if place in text_columns else "n")
        for place, cell in enumerate(cells[1:], start=1)
    ]
    return element("tr", element("th", first, scope="row"), rest)


def folded_table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Child]],
    text_columns: Sequence[int],
) -> Markup:
    """A table as the text of a chart: closed until it is asked for."""
    return element(
        "details",
        element(
            "summary",
            AS_TABLE,
            element("span", say(": {caption}", caption=caption), class_="unseen"),
        ),
        table(caption, header, rows, text_columns=text_columns),
        class_="data",
    )
