"""A watched training on a terminal, refreshed in place; in a pipe one plain line each time."""

from collections.abc import Callable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table

from diagnostics.analyses.watch_course import Line, WatchView
from diagnostics.language import listed, say, spoken
from diagnostics.printable import printable
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented, line, make_console
from diagnostics.report.console import table as make_table
from diagnostics.report.sparks import bars_for, spark
from diagnostics.report.watch_words import (
    amount,
    duration,
    end_text,
    growth_text,
    growth_texts,
    line_name,
    subject_texts,
)

_LEAST_SPARK = 10
_GAPS = 8
_LEAST_CHANGE_BYTES, _LEAST_CHANGE_SHARE = 32 << 20, 0.02
"""A smaller change of a memory is not drawn over the whole height: it would look like much."""
_PLAIN_KINDS = ("all", "process", "GPU", "GPU memory", "disk read", "/dev/shm", "free")


class Screen(Protocol):
    """Where a watched training is shown until it ends; a context manager."""

    def show(self, view: WatchView) -> None:
        """The newest state."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class LiveScreen:
    """A table that is drawn anew in its place, and gone in the end.

    Args:
        stream: A terminal.
        width: Columns; by default the terminal's.
        color: Whether to use colours; by default as the terminal can.
    """

    def __init__(self, stream: TextIO, width: int | None, color: bool | None) -> None:
        self._console = make_console(stream, width, color)
        self._bars = bars_for(stream.encoding)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def show(self, view: WatchView) -> None:
        """Draws the newest state over the last one."""
        self._live.update(Group(*frame(view, self._console.width, self._bars)), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class PlainScreen:
    """A line for each state, for a pipe or a file.

    Args:
        write: Writes a line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._is_begun = False

    def show(self, view: WatchView) -> None:
        """Writes the newest state."""
        for text in () if self._is_begun else subject_texts(view):
            self._write(printable(spoken(text), limit=4000))
        self._is_begun = True
        self._write(printable(spoken(plain_line(view)), limit=4000))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def frame(view: WatchView, width: int, bars: str) -> Iterator[RenderableType]:
    """Everything of a state, on one time axis."""
    seen = duration(float(view.at_s[-1]))
    yield line(say("Watched for {seen}", seen=seen), "bold")
    for text in subject_texts(view):
        yield line(text, "yellow")
    names = [spoken(line_name(each)) for each in view.lines]
    left = max(map(cell_len, names), default=0)
    amounts = [(amount(each, each.now), amount(each, each.peak)) for each in view.lines]
    figures = max((len(text) for pair in amounts for text in pair), default=0)
    room = max(_LEAST_SPARK, width - left - 2 * max(figures, 5) - _GAPS)
    yield _rows(view, names, amounts, (room, bars))
    for text in growth_texts(view):
        yield line(text, "yellow" if view.growing else "")
    share = units.share(view.own_core_share)
    yield line(
        say("This tool takes {share} of a core. Ctrl-C ends it with a report.", share=share), "dim"
    )


def _rows(
    view: WatchView, names: list[str], amounts: list[tuple[str, str]], how: tuple[int, str]
) -> Table:
    room, bars = how
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    rows.add_column("", no_wrap=True)
    for name in ("now", "most"):
        rows.add_column(spoken(name), justify="right", no_wrap=True)
    rows.add_column(spoken("from the start to now"), width=room, no_wrap=True, overflow="crop")
    growing = {each.pid for each in view.growing}
    for each, name, (now, most) in zip(view.lines, names, amounts, strict=True):
        drawn = spark(view.at_s, each.values, room, _span(each), bars)
        style = "yellow" if each.pid is not None and each.pid in growing else ""
        rows.add_row(line(name), line(now), line(most), drawn, style=style)
    return rows


def _span(each: Line) -> tuple[float, float]:
    """Shares and rates begin at 0; of memory the changes are drawn, unless they are small."""
    peak, least = each.peak or 0.0, each.least or 0.0
    if each.unit == "percent":
        return 0.0, each.most or 100.0
    if each.unit == "bytes/s":
        return 0.0, max(peak, 1.0)
    return min(least, peak - max(_LEAST_CHANGE_BYTES, _LEAST_CHANGE_SHARE * peak)), peak


def plain_line(view: WatchView) -> str:
    """One line: the time, what is held, what is read, who grows."""
    at = datetime.fromtimestamp(view.unix_s).astimezone().strftime("%H:%M:%S")
    shown = [each for each in view.lines if each.kind in _PLAIN_KINDS and each.now is not None]
    parts = [
        say("{name} {amount}", name=line_name(each), amount=amount(each, each.now))
        for each in shown
    ]
    grows = [growth_text(each) for each in view.growing]
    more = say(" | {grows}", grows=listed(grows, " ")) if grows else ""
    return say("{at} {parts}{more}", at=at, parts=listed(parts, "; "), more=more)


def watched_section(view: WatchView | None) -> Iterator[RenderableType]:
    """What was watched, once it is over."""
    if view is None:
        return
    seen = duration(float(view.at_s[-1]))
    yield heading(say("Watched for {seen}", seen=seen))
    for text in subject_texts(view):
        yield indented(text, style="yellow")
    rows = make_table("", "first", "least", "most", "last")
    for each in view.lines:
        figures = (each.first, each.least, each.peak, each.now)
        add_row(rows, line_name(each), *(amount(each, figure) for figure in figures))
    yield Padding(rows, (0, 0, 0, 2))
    for text in growth_texts(view):
        yield indented(text, style="yellow" if view.growing else "")
    if view.has_ended:
        yield indented(end_text(view), style="bold")
    share = units.share(view.own_core_share)
    yield indented(
        say(
            "Memory of a process is without its pages of files and shared memory. Watching took "
            "{share} of a core.",
            share=share,
        ),
        style="dim",
    )
