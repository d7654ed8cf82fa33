"""What a run said before memory ran out, for a terminal."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import RenderableType

from diagnostics.analyses.memory_warnings import MemoryWarningSeen, Taker
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import indented

_SHOWN = 2
"""The first warning, and the last one."""


def warning_lines(warnings: Sequence[MemoryWarningSeen]) -> Iterator[RenderableType]:
    """How often it was said, and the first and the last of them."""
    if not warnings:
        return
    yield indented(
        say("The run said {count} time(s) that memory was running out:", count=len(warnings)),
        style="yellow",
    )
    shown = warnings if len(warnings) <= _SHOWN else (warnings[0], warnings[-1])
    for each in shown:
        yield indented(warning_text(each), 4, style="yellow")


def warning_text(warning: MemoryWarningSeen) -> str:
    """One warning as a sentence."""
    at = datetime.fromtimestamp(warning.at_unix_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    step = "" if warning.step is None else say(" (step {step})", step=warning.step)
    left = say(
        "{at}{step}: {free} left of {limit} ({source})",
        at=at,
        step=step,
        free=units.size(warning.free_bytes),
        limit=units.size(warning.limit_bytes),
        source=warning.source or "where is not said",
    )
    if warning.bytes_per_s is None or warning.seconds_left is None:
        return say("{left}.", left=left)
    return say(
        "{left}, {rate}/s less, about {seconds:.0f} s until the end{takers}.",
        left=left,
        rate=units.size(warning.bytes_per_s),
        seconds=warning.seconds_left,
        takers=say("; taken by {who}", who=listed(map(_taker, warning.takers)))
        if warning.takers
        else "",
    )


def _taker(taker: Taker) -> str:
    rate = units.size(taker.bytes_per_s)
    if taker.pid is None:
        return say("{what} ({rate}/s)", what=taker.what, rate=rate)
    return say("{what} {pid} ({rate}/s)", what=taker.what, pid=taker.pid, rate=rate)
