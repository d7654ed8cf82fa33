"""What the processes that make batches fetch from disks and servers while the run steps.

Bytes that the kernel still keeps of a file do not count, so that this is what a slow disk or a
network has to deliver.
"""

from dataclasses import dataclass

import pandas as pd

from diagnostics.analyses.outside_steps import VALIDATION
from diagnostics.run import Run

LEAST_S = 5.0
"""A shorter time says nothing about a rate."""


@dataclass(frozen=True, kw_only=True)
class StorageReads:
    """`bytes_per_s` is the mean of all loading processes together over `seconds`.

    They are those of the trainer itself where it makes its batches. `bytes_per_batch` divides
    what was read by the batches that were fetched meanwhile.
    """

    seconds: float
    bytes_read: float
    bytes_per_s: float
    bytes_per_batch: float | None


def compute_storage_reads(run: Run) -> StorageReads | None:
    """From the first step's beginning to the last one's end, but for validations.

    None where no process was watched.
    """
    processes, fetches = run.tables.processes, run.tables.fetches
    starts = run.tables.steps["start_unix_s"].dropna()
    if not len(starts):
        return None
    makes_itself = not fetches["worker"].notna().any()
    role = "main" if makes_itself and len(fetches) else "worker"
    within = processes[
        (processes["role"] == role)
        & processes["storage_read_bytes"].notna()
        & (processes["at_unix_s"] >= starts.min())
    ]
    within = within[within["at_unix_s"] <= _end_s(run)] if len(within) else within
    if not len(within):
        return None
    rows, idle_s = _between_samples(within), _validations_s(run)
    spent_s = float(within["at_unix_s"].max() - within["at_unix_s"].min())
    seconds = spent_s - sum(end - begin for begin, end in idle_s)
    if seconds < LEAST_S:
        return None
    is_stepping = pd.Series(True, index=rows.index)
    for begin, end in idle_s:
        is_stepping &= ~rows["middle_s"].between(begin, end)
    read = float(rows.loc[is_stepping, "bytes"].clip(lower=0).sum())
    batches = len(fetches)
    return StorageReads(
        seconds=seconds,
        bytes_read=read,
        bytes_per_s=read / seconds,
        bytes_per_batch=read / batches if batches else None,
    )


def _between_samples(processes: pd.DataFrame) -> pd.DataFrame:
    """What each process read from one sample to its next, with the middle of that time."""
    ordered = processes.sort_values("at_unix_s")
    of_process = ordered.groupby(["host", "pid"], observed=True)
    return pd.DataFrame(
        {
            "bytes": of_process["storage_read_bytes"].diff(),
            "middle_s": ordered["at_unix_s"] - of_process["at_unix_s"].diff() / 2,
        }
    ).dropna()


def _validations_s(run: Run) -> list[tuple[float, float]]:
    """Beginning and end of each; their loading processes look like those of the training."""
    spans = run.tables.spans
    mine = spans[(spans["name"] == VALIDATION) & (spans["rank"] == spans["rank"].min())]
    begins = mine["start_unix_s"]
    return [
        (float(begin), float(end))
        for begin, end in zip(begins, begins + mine["ms"] / 1000, strict=True)
        if begin == begin and end >= begin
    ]


def _end_s(run: Run) -> float:
    """Of the last step, validations and checkpoints before it included."""
    phases, starts = run.tables.phases, run.tables.steps["start_unix_s"]
    last_step = run.tables.steps["step"].max()
    ends = phases[phases["step"] == last_step]
    whole_ms = ends.loc[(ends["name"] == "step") & (ends["clock"] == "host"), "ms"]
    return float(starts.max()) + (float(whole_ms.max()) if len(whole_ms) else 0.0) / 1000
