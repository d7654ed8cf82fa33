"""What validations fetch from disks and servers, and how much they compute meanwhile."""

from dataclasses import dataclass

import pandas as pd

from diagnostics.analyses.outside_steps import VALIDATION
from diagnostics.run import Run

LEAST_MS = 2000.0
"""Of a shorter validation two samples a second apart say nothing."""
_OWN = ("main", "worker")


@dataclass(frozen=True, kw_only=True)
class ValidationReads:
    """Means over the `count` validations that were long enough.

    `cores` is what the trainer and its loading processes kept busy in them.
    """

    count: int
    seconds: float
    bytes_read: float
    cores: float | None


def compute_validation_reads(run: Run) -> ValidationReads | None:
    """Of the lowest rank's validations; None where none was long or no process was watched."""
    spans, processes = run.tables.spans, run.tables.processes
    own = processes[processes["role"].isin(_OWN)]
    long = spans[
        (spans["name"] == VALIDATION)
        & (spans["rank"] == spans["rank"].min())
        & (spans["ms"] >= LEAST_MS)
    ].dropna(subset=["start_unix_s"])
    if not len(long) or not own["storage_read_bytes"].notna().any():
        return None
    found = [
        _of_span(own, float(start), float(start) + float(ms) / 1000)
        for start, ms in zip(long["start_unix_s"], long["ms"], strict=True)
    ]
    cores = [used for _, used in found if used is not None]
    return ValidationReads(
        count=len(long),
        seconds=float(long["ms"].mean()) / 1000,
        bytes_read=sum(read for read, _ in found) / len(found),
        cores=sum(cores) / len(cores) if cores else None,
    )


def _of_span(own: pd.DataFrame, begins_s: float, ends_s: float) -> tuple[float, float | None]:
    """Bytes from storage, of processes that were started for it from their first on; and cores."""
    known = own[own["at_unix_s"] <= ends_s]
    counted = known.dropna(subset=["storage_read_bytes"])
    is_within = counted["at_unix_s"] > begins_s
    of = ["host", "pid"]
    last = counted[is_within].groupby(of, observed=True)["storage_read_bytes"].max()
    before = counted[~is_within].groupby(of, observed=True)["storage_read_bytes"].max()
    read = (last - before.reindex(last.index).fillna(0.0)).clip(lower=0).sum()
    within = known[known["at_unix_s"] > begins_s]
    used = within.groupby("at_unix_s")["cpu_percent"].sum(min_count=1).dropna()
    return float(read), float(used.mean()) / 100 if len(used) else None
