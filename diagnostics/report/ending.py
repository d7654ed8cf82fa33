"""How a run ended, in words; a run that finished, or that may still run, needs none."""

from diagnostics.analyses.run_end import RunEnd


def describe_end(end: RunEnd) -> str | None:
    """One sentence about a run that failed or was interrupted, with the error that ended it."""
    when = "before its first step" if end.last_step is None else f"after step {end.last_step}"
    if end.status == "interrupted":
        return f"The run was interrupted {when}."
    if end.status != "failed":
        return None
    if end.error is None:
        return f"The run failed {when}; no error line was left."
    return f"The run failed {when}: {end.error.rstrip('. ')}."
