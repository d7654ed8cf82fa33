"""The terminal's sections as HTML: the same sentences, headings and tables, each said once.

A section of the terminal is a stream of headings, indented lines and tables (`console`); here each
becomes the element that means the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from diagnostics.language import spoken
from diagnostics.report import html_words as words
from diagnostics.report.console import Heading
from diagnostics.report.fitting_table import FittingTable
from diagnostics.report.html_colours import colour_of
from diagnostics.report.html_markup import Markup, element, prose
from diagnostics.report.html_page import Section
from diagnostics.report.html_plot import legend
from diagnostics.report.html_table import table

_BULLET = "- "
_BASE_INDENT = 2
_CLASSES = {
    "dim": "dim",
    "yellow": "warn",
    "green": "good",
    "bold": "strong",
    "bold red": "bad",
    "cyan": "note",
}


@dataclass
class Block:
    """A heading (empty before the first one) and the elements below it."""

    title: str
    parts: list[Markup] = field(default_factory=list)


def to_blocks(stream: Iterable[RenderableType]) -> list[Block]:
    """The stream cut at its headings."""
    blocks = [Block("")]
    writer = _Writer()
    for part in stream:
        inner, indent = _unpacked(part)
        if isinstance(inner, Heading):
            blocks[-1].parts += writer.end_list()
            blocks.append(Block(inner.plain.strip()))
        else:
            blocks[-1].parts += writer.write(inner, indent, blocks[-1].title)
    blocks[-1].parts += writer.end_list()
    return [block for block in blocks if block.title or block.parts]


def sections_of(name: str, stream: Iterable[RenderableType]) -> Iterator[Section]:
    """A section of the terminal as sections of the page, one for each of its headings."""
    for place, block in enumerate(to_blocks(stream)):
        anchor = name if place == 0 else f"{name}-{place + 1}"
        yield Section(anchor, block.title or words.MORE, block.parts)


def _unpacked(part: RenderableType) -> tuple[RenderableType, int]:
    """What a padding holds, and how far it moves it to the right."""
    if isinstance(part, Padding):
        inner, indent = _unpacked(part.renderable)
        return inner, indent + part.left
    return part, 0


@dataclass
class _Writer:
    """Writes one stream; lines that begin with a dash become items of one list."""

    items: list[Markup] = field(default_factory=list)

    def write(self, part: RenderableType, indent: int, title: str) -> Iterator[Markup]:
        if isinstance(part, FittingTable):
            yield from self.end_list()
            yield _table(part, title)
            yield from _legend(part)
        elif isinstance(part, Text):
            yield from self._line(part, indent)
        else:
            raise TypeError(f"a section of the report holds a {type(part).__name__}")

    def _line(self, part: Text, indent: int) -> Iterator[Markup]:
        said = part.plain.strip()
        if said.startswith(_BULLET):
            self.items.append(element("li", prose(said.removeprefix(_BULLET))))
            return
        yield from self.end_list()
        if said:
            classes = [_class_of(part), "inner" if indent > _BASE_INDENT else ""]
            yield element("p", prose(said), class_=classes if any(classes) else None)

    def end_list(self) -> Iterator[Markup]:
        if self.items:
            yield element("ul", self.items)
            self.items = []


def _class_of(part: Text) -> str:
    return _CLASSES.get(str(part.style), "")


def _table(made: FittingTable, title: str) -> Markup:
    """Columns whose name ends with a space are text, as in the terminal."""
    texts = [0, *(place for place, name in enumerate(made.columns) if name.endswith(" "))]
    return table(
        title or made.columns[0].strip(),
        [name.strip() for name in made.columns],
        [[cell.plain.strip() for cell in cells] for cells, _ in made.rows],
        bars=_drawn(made),
        text_columns=texts,
    )


def _drawn(made: FittingTable) -> list[list[tuple[float, int]]]:
    """The bars of the rows, the longest as wide as there is room; empty if no row has any."""
    bars = [[(name, value) for name, value in bar if value and value > 0] for bar in made.bars]
    longest = max((sum(value for _, value in bar) for bar in bars), default=0.0)
    if longest <= 0:
        return []
    return [[(value / longest, colour_of(name)) for name, value in bar] for bar in bars]


def _legend(made: FittingTable) -> Iterator[Markup]:
    """Where bars have several parts that are not rows themselves."""
    names = dict.fromkeys(name for bar in made.bars for name, value in bar if value)
    rows = {cells[0].plain.strip() for cells, _ in made.rows}
    if any(len(bar) > 1 for bar in made.bars) and not rows & {spoken(name) for name in names}:
        yield legend((f"f{colour_of(name)}", name) for name in names)
