"""What ended a run that could say nothing, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.language import say
from diagnostics.report.console import heading, indented
from diagnostics.report.kill_words import describe_kill, kill_details
from diagnostics.report.model import Report


def kill_section(report: Report) -> Iterator[RenderableType]:
    """The answer and its grounds; nothing where no process was lost."""
    account = report.analysis.kill
    if account is None:
        return
    yield heading("What ended it")
    yield indented(describe_kill(account), style="yellow")
    for detail in kill_details(account):
        yield indented(say("- {detail}", detail=detail))
