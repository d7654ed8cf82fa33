"""A console for reports: fixed width, no markup, so that text from files is only ever text."""

import os
import re
import shutil
from collections.abc import Iterable
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from diagnostics.language import spoken
from diagnostics.printable import printable
from diagnostics.report.fitting_table import Bar, FittingTable
from diagnostics.report.wide_text import WideText

PIPE_COLUMNS = 80
MAX_COLUMNS = 120
"""A terminal wider than this is not filled: long lines read badly."""

_TRAILING_BLANKS = re.compile(r" +\n")
SEVERITY_STYLES = {"critical": "bold red", "warn": "yellow", "note": "cyan"}


def make_console(stream: IO[str], width: int | None = None, color: bool | None = None) -> Console:
    """A console that writes to `stream`.

    Args:
        stream: where to.
        width: columns; by default the terminal's, 80 when the stream is none.
        color: whether to use colours; by default on a terminal that has them, unless the
            environment says `NO_COLOR` (no-color.org) or that the terminal is dumb.
    """
    is_terminal = stream.isatty()
    if width is None:
        width = (
            min(MAX_COLUMNS, shutil.get_terminal_size().columns) if is_terminal else PIPE_COLUMNS
        )
    unwanted = not is_terminal or bool(os.environ.get("NO_COLOR")) or _is_dumb()
    plain = color is False or (color is None and unwanted)
    return Console(
        file=stream,
        width=width,
        no_color=plain,
        color_system=None if plain else "auto",
        force_terminal=None if color is None else color,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )


def _is_dumb() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def print_parts(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print the parts without the blanks that fill lines up to the width."""
    with console.capture() as capture:
        for part in parts:
            console.print(Group(part))  # rich would join bare texts, and forget how they wrap
    console.file.write(_TRAILING_BLANKS.sub("\n", capture.get()))


class Heading(WideText):
    """The title of a section; other renderers know sections by it."""


def heading(title: str) -> Text:
    """The title of a section."""
    return Heading(f"\n{printable(spoken(title))}", style="bold")


def line(text: str, style: str = "") -> Text:
    """Text from a report on wrapped lines; what could disturb a terminal is escaped.

    It is said in the reader's language, so what is given here is a `Sentence` or a constant.
    """
    return WideText(printable(spoken(text), limit=2000), style=style, overflow="fold")


def indented(text: str, columns: int = 2, style: str = "") -> Padding:
    """The same, moved to the right as a block."""
    return Padding(line(text, style), (0, 0, 0, columns))


def table(*columns: str) -> FittingTable:
    """A table without lines that fits the console: see `FittingTable`."""
    return FittingTable(columns)


def add_row(made: FittingTable, *cells: str, style: str = "", bar: Bar = ()) -> None:
    """A row of plain text; a terminal draws no bar."""
    made.add([line(cell) for cell in cells], style, bar)
