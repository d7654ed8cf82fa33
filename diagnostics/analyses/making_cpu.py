"""What part of making batches is computed, and what part waits: for a disk, a network, a lock.

The CPU time of the processes that make the batches, against the time that they take for it. Only
samples that lie in ordinary steps count, for before, between and after them loaders do other work.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.resources import sum_of_complete
from diagnostics.analyses.selection import select_ordinary
from diagnostics.analyses.step_parts import STEP
from diagnostics.run import Run

LEAST_SAMPLES = 5
_ALWAYS = 0.5
"""Fetches without a finished batch above this share: the loading processes never rest."""


@dataclass(frozen=True, kw_only=True)
class MakingCpu:
    """Means over ordinary steps, all machines together.

    `cores` is what the loading processes kept busy, or the training processes where they make
    their batches themselves; `making` how many batches were in the making at a time. Of a training
    process that makes its batches `cores` holds the model's work, too, so that `core_share` is the
    most that it can be.
    """

    num_samples: int
    cores: float
    making: float
    is_bound: bool

    @property
    def core_share(self) -> float:
        """Of the time that a batch takes to make, what its process computed."""
        return min(1.0, self.cores / self.making)


def compute_making_cpu(run: Run) -> MakingCpu | None:
    """None where processes or the making of batches were not watched."""
    processes, steps = run.tables.processes, _ordinary_steps(run)
    is_loading = processes["role"] == "worker"
    has_loaders = _has_loaders(run, is_loading)
    makers = processes[is_loading if has_loaders else processes["role"] == "main"]
    found = _cores(makers, steps)
    making = _making(run, steps, processes[is_loading]) if has_loaders else _waiting(run, steps)
    if found is None or not making:
        return None
    return MakingCpu(num_samples=found[1], cores=found[0], making=making, is_bound=not has_loaders)


def _has_loaders(run: Run, is_loading: "pd.Series[bool]") -> bool:
    """Whether others make the batches; a validation may have loading processes of its own."""
    timed = run.tables.fetches.dropna(subset=["made_ms"])
    return bool(timed["worker"].notna().any() if len(timed) else is_loading.any())


def _ordinary_steps(run: Run) -> pd.DataFrame:
    """Start and time of each, by the host's clock."""
    phases = select_ordinary(run.tables.phases)
    if phases.is_tagged_included:
        return pd.DataFrame(columns=["rank", "step", "ms", "start_unix_s"])
    is_whole = (phases.rows["name"] == STEP) & (phases.rows["clock"] == "host")
    whole = phases.rows.loc[is_whole, ["rank", "step", "ms"]]
    starts = run.tables.steps[["rank", "step", "start_unix_s"]]
    return whole.merge(starts, on=["rank", "step"]).dropna()


def _cores(makers: pd.DataFrame, steps: pd.DataFrame) -> tuple[float, int] | None:
    """Mean cores over the samples within the lowest rank's steps, and their number."""
    lead = steps[steps["rank"] == steps["rank"].min()].sort_values("start_unix_s")
    total, count = 0.0, 0
    for _, rows in makers.groupby("host", observed=True):
        used = sum_of_complete(rows, "cpu_percent").dropna()
        inside = used[_is_within(used.index.to_numpy(dtype="float64"), lead)]
        if len(inside) < LEAST_SAMPLES:
            return None
        total, count = total + float(inside.mean()) / 100, count + len(inside)
    return (total, count) if count else None


def _is_within(at: Floats, lead: pd.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    starts = lead["start_unix_s"].to_numpy(dtype="float64")
    ends = starts + lead["ms"].to_numpy(dtype="float64") / 1000
    if not len(starts):
        return np.zeros(len(at), dtype=bool)
    place = np.searchsorted(starts, at, side="right") - 1
    return (place >= 0) & (at <= ends[np.maximum(place, 0)])


def _making(run: Run, steps: pd.DataFrame, loaders: pd.DataFrame) -> float | None:
    """As the batches' own times tell; where they carry none, all processes if they never rest."""
    fetches = select_ordinary(run.tables.fetches).rows
    made_ms, step_ms = float(fetches["made_ms"].sum()), float(steps["ms"].sum())
    if made_ms and step_ms and fetches["made_ms"].notna().all():
        return made_ms / step_ms * steps["rank"].nunique()
    ready = fetches["ready"].dropna()
    if len(ready) and float((ready == 0).mean()) >= _ALWAYS:
        by_sample = loaders.groupby(["host", "at_unix_s"], observed=True)["pid"].nunique()
        return float(by_sample.groupby(level="host").median().sum())
    return None


def _waiting(run: Run, steps: pd.DataFrame) -> float | None:
    """Of training processes that make batches themselves: the share of their waits for data."""
    phases = select_ordinary(run.tables.phases).rows
    is_wait = (phases["name"] == "data_wait") & (phases["clock"] == "host")
    wait_ms, step_ms = float(phases.loc[is_wait, "ms"].sum()), float(steps["ms"].sum())
    return wait_ms / step_ms * steps["rank"].nunique() if step_ms else None
