"""Markdown of several paragraphs: translated paragraph by paragraph."""

import re
from collections.abc import Iterator

from diagnostics.language.choice import ENGLISH
from diagnostics.language.speaking import language, spoken

_MARK = re.compile(r"(?:#+|[*-]|\d+\.) +")
"""What a heading or an item of a list begins with."""


def spoken_page(markdown: str) -> str:
    """The page in the language spoken now, one line for each block; English stays as it is."""
    if language() == ENGLISH:
        return markdown
    page, before = "", ""
    for block in blocks_of(markdown):
        mark = mark_of(block)
        tight = not page or before.startswith("#") or (mark and mark == before)
        page += ("" if not page else "\n" if tight else "\n\n") + mark
        page += spoken(block.removeprefix(mark))
        before = mark
    return page


def blocks_of(markdown: str) -> Iterator[str]:
    """Headings, paragraphs and items of lists, each on one line, with their marks."""
    block: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        text = line.strip()
        if block and (not text or mark_of(text) or block[0].startswith("#")):
            yield " ".join(block)
            block = []
        if text:
            block.append(text)


def mark_of(block: str) -> str:
    """The sign of a heading or of an item; empty for a paragraph."""
    found = _MARK.match(block)
    return found.group() if found else ""
