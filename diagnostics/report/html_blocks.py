"""The terminal's sections as HTML: the same sentences, headings and tables, each said once.

A section of the terminal is a stream of headings, indented lines and tables (`console`); here each
becomes the element that means the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from diagnostics.report.console import Heading
from diagnostics.report.fitting_table import FittingTable
from diagnostics.report.html_markup import Markup, element, prose
from diagnostics.report.html_table import Bars, table

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


def to_blocks(stream: Iterable[RenderableType], bars: Sequence[Bars] = ()) -> list[Block]:
    """The stream cut at its headings; `bars` belong to its tables in their order."""
    blocks = [Block("")]
    writer = _Writer(iter(bars))
    for part in stream:
        inner, indent = _unpacked(part)
        if isinstance(inner, Heading):
            blocks[-1].parts += writer.end_list()
            blocks.append(Block(inner.plain.strip()))
        else:
            blocks[-1].parts += writer.write(inner, indent, blocks[-1].title)
    blocks[-1].parts += writer.end_list()
    return [block for block in blocks if block.title or block.parts]


def _unpacked(part: RenderableType) -> tuple[RenderableType, int]:
    """What a padding holds, and how far it moves it to the right."""
    if isinstance(part, Padding):
        inner, indent = _unpacked(part.renderable)
        return inner, indent + part.left
    return part, 0


@dataclass
class _Writer:
    """Writes one stream; lines that begin with a dash become items of one list."""

    bars: Iterator[Bars]
    items: list[Markup] = field(default_factory=list)

    def write(self, part: RenderableType, indent: int, title: str) -> Iterator[Markup]:
        if isinstance(part, FittingTable):
            yield from self.end_list()
            yield _table(part, title, next(self.bars, None))
        elif isinstance(part, Text):
            yield from self._line(part, indent)
        else:
            raise TypeError(f"a section of the report holds a {type(part).__name__}")

    def _line(self, part: Text, indent: int) -> Iterator[Markup]:
        words = part.plain.strip()
        if words.startswith(_BULLET):
            self.items.append(element("li", prose(words.removeprefix(_BULLET))))
            return
        yield from self.end_list()
        if words:
            classes = [_class_of(part), "inner" if indent > _BASE_INDENT else ""]
            yield element("p", prose(words), class_=" ".join(filter(None, classes)) or None)

    def end_list(self) -> Iterator[Markup]:
        if self.items:
            yield element("ul", self.items)
            self.items = []


def _class_of(part: Text) -> str:
    return _CLASSES.get(str(part.style), "")


def _table(made: FittingTable, title: str, bars: Bars | None) -> Markup:
    """Columns whose name ends with a space are text, as in the terminal."""
    words = [0, *(place for place, name in enumerate(made.columns) if name.endswith(" "))]
    return table(
        title or made.columns[0].strip(),
        [name.strip() for name in made.columns],
        [[cell.plain.strip() for cell in cells] for cells, _ in made.rows],
        bars=bars,
        text_columns=words,
    )
