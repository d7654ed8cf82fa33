"""What a report says about a configuration that was written, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.settled_changes import setting_text
from diagnostics.command_line import STDOUT
from diagnostics.language import say
from diagnostics.report.console import heading, indented
from diagnostics.report.memory_model import MemoryReport, Rewrite
from diagnostics.rules.finding import SettingValue


def rewrite_section(report: MemoryReport) -> Iterator[RenderableType]:
    """Where the new configuration is, and what is new in it."""
    made = report.rewrite
    if made is None:
        return
    yield heading("New configuration")
    where = "standard output" if str(made.path) == STDOUT else str(made.path)
    if not made.is_written:
        yield indented(
            say(
                "{path} is not written: with all changes that can be made the forecast is still: "
                "{verdict}.",
                path=where,
                verdict=made.verdict,
            )
        )
    else:
        yield indented(
            say(
                "{path} is written; its forecast: {verdict}.",
                path=where,
                verdict=made.verdict,
            )
        )
        if not made.changes:
            yield indented("Nothing had to change but what the command line says.")
    for change in made.changes:
        yield indented(
            say(
                "{key}: {current} -> {proposed}",
                key=change.key,
                current=setting_text(change.current),
                proposed=setting_text(change.proposed),
            ),
            4,
        )
    yield from _left_out(made)


def _left_out(made: Rewrite) -> Iterator[RenderableType]:
    for each in made.left_out:
        yield indented(
            say(
                "{rule} is not followed: {key} stays {current}, {proposed} is proposed ({reason}).",
                rule=each.rule,
                key=each.key,
                current=_value_text(each.current),
                proposed=_value_text(each.proposed),
                reason=each.reason,
            )
        )


def _value_text(value: SettingValue) -> str:
    return str(list(value)) if isinstance(value, tuple) else setting_text(value)
