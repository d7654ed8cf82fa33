"""A table that never cuts a figure: too wide, it breaks its names, loses columns, or is told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from diagnostics.language import listed, say, spoken
from diagnostics.language.line_breaks import units_of

GAP = 2
LEAST_NEEDED = ("least", "median", "swap", "shared", "first", "steps")
"""Columns that a narrow terminal does without, in this order; --json has them all."""

Bar = Sequence[tuple[str, float | None]]
"""What stands behind a row, as named parts in one unit for the table: a page draws a bar of it."""


@dataclass
class FittingTable:
    """Rows of text under named columns; the first is text, the others are numbers.

    A column whose name ends with a space is text that may wrap. Where it is too wide, names take
    several lines; then the columns that are needed least go; then every row becomes a sentence.
    """

    columns: Sequence[str]
    rows: list[tuple[tuple[Text, ...], str]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def add(self, cells: Sequence[Text], style: str, bar: Bar = ()) -> None:
        """Add a row; it has as many cells as there are columns."""
        self.rows.append((tuple(cells), style))
        self.bars.append(bar)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        everything = range(len(self.columns))
        if self._width(everything, breaks_names=False) <= options.max_width:
            yield self._table(everything, breaks_names=False)
        elif self._width(kept := self._kept(options.max_width)) <= options.max_width:
            yield self._table(kept)
        else:
            for cells, style in self.rows:
                yield Text(self._sentence(cells), style=style, overflow="fold")

    def _kept(self, width: int) -> list[int]:
        """The columns that fit, as far as leaving some out helps."""
        kept = list(range(len(self.columns)))
        for name in LEAST_NEEDED:
            if self._width(kept) <= width:
                break
            kept = [each for each in kept if each == 0 or self.columns[each] != name]
        return kept

    def _width(self, kept: Sequence[int], *, breaks_names: bool = True) -> int:
        widths = (self._column_width(each, breaks_names) for each in kept)
        return sum(widths) + GAP * (len(kept) - 1)

    def _column_width(self, column: int, breaks_names: bool) -> int:
        """The least width in which no word is cut and no figure is parted from its unit."""
        names = self._name(column, breaks_names).splitlines()
        cells = [row[column].plain for row, _ in self.rows]
        if self._wraps(column):
            cells = [unit.rstrip() for cell in cells for unit in units_of(cell)]
        return max(map(cell_len, [*names, *cells]), default=0)

    def _name(self, column: int, breaks_names: bool) -> str:
        name = spoken(self.columns[column].strip())
        return name.replace(" ", "\n") if breaks_names else name

    def _wraps(self, column: int) -> bool:
        return self.columns[column].endswith(" ")

    def _table(self, kept: Sequence[int], *, breaks_names: bool = True) -> Table:
        made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        for column in kept:
            wraps = self._wraps(column)
            justify: JustifyMethod = "left" if wraps or column == 0 else "right"
            name = self._name(column, breaks_names)
            made.add_column(name, justify=justify, no_wrap=not wraps, overflow="fold")
        for cells, style in self.rows:
            made.add_row(*(cells[column] for column in kept), style=style)
        return made

    def _sentence(self, cells: Sequence[Text]) -> str:
        named = [
            say("{column} {cell}", column=name.strip(), cell=cell.plain)
            for name, cell in zip(self.columns[1:], cells[1:], strict=True)
            if cell.plain
        ]
        first = cells[0].plain.strip()
        return spoken(say("{first}: {others}", first=first, others=listed(named)))
