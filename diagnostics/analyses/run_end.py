"""How a run ended: what its log and its events say about the end, and after which step."""

from dataclasses import dataclass

import pandas as pd

from diagnostics.run import Run, RunStatus

FAILED_EVENT = "run_failed"


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """The end of a run. `error` is the line that it ended with, None where none was written.

    `last_step` is the last step that left a trace, None where none did; `status` None is unknown.
    """

    status: RunStatus | None = None
    error: str | None = None
    last_step: int | None = None


def compute_run_end(run: Run) -> RunEnd:
    """The end, from meta.json, events and the `[end]` line."""
    status = run.info.status
    return RunEnd(
        status=status,
        error=_error(run.tables.events) if status == "failed" else None,
        last_step=_last_step(run),
    )


def _error(events: pd.DataFrame) -> str | None:
    reasons = [
        values.get("reason") for values in events.loc[events["name"] == FAILED_EVENT, "values"]
    ]
    known = [reason for reason in reasons if isinstance(reason, str) and reason]
    return known[-1] if known else None


def _last_step(run: Run) -> int | None:
    """A step before the run's first is the one it was resumed from, and none of its own."""
    tables = run.tables
    known = [int(rows["step"].max()) for rows in (tables.steps, tables.progress) if len(rows)]
    first = run.info.first_step or 1
    return max((step for step in known if step >= first), default=None)
