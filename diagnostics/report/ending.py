"""How a run ended, in words; a run that finished, or that may still run, needs none."""

from diagnostics.analyses.run_end import RunEnd
from diagnostics.language import say


def describe_end(end: RunEnd) -> str | None:
    """One sentence about a run that failed or was interrupted, with the error that ended it."""
    when = (
        "before its first step"
        if end.last_step is None
        else say("after step {last_step}", last_step=end.last_step)
    )
    if end.status == "interrupted":
        return say("The run was interrupted {when}.", when=when)
    if end.status != "failed":
        return None
    if end.error is None:
        return say("The run failed {when}; no error line was left.", when=when)
    return say("The run failed {when}: {error}.", when=when, error=end.error.rstrip(". "))
