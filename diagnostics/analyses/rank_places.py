"""Where each rank ran, and how far its clock is from that of rank 0."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnostics.run import RunTables


@dataclass(frozen=True, kw_only=True)
class RankPlace:
    """One rank; None is unknown.

    `clock_offset_ms` is what its clock showed more than rank 0's when last compared,
    `clock_drift_ms` how much that changed during the run. `start_lateness_ms` is how much later
    than the first rank it began its steps, on average, by clocks set right; it is known to
    `clock_uncertainty_ms`.
    """

    rank: int
    host: str | None = None
    local_rank: int | None = None
    device: str | None = None
    device_name: str | None = None
    clock_offset_ms: float | None = None
    clock_uncertainty_ms: float | None = None
    clock_drift_ms: float | None = None
    start_lateness_ms: float | None = None


def rank_places(tables: RunTables) -> tuple[RankPlace, ...]:
    """The ranks that said where they ran, in order."""
    late = _start_lateness(tables)
    found = []
    for row in tables.rank_places.to_dict("records"):
        rank = int(row["rank"])
        compared = tables.rank_clocks[tables.rank_clocks["rank"] == rank]
        offsets = compared["offset_ms"].to_numpy()
        known = len(offsets) > 0
        found.append(
            RankPlace(
                rank=rank,
                host=row["host"],
                local_rank=None if pd.isna(row["local_rank"]) else int(row["local_rank"]),
                device=row["device"],
                device_name=row["device_name"],
                clock_offset_ms=float(offsets[-1]) if known else None,
                clock_uncertainty_ms=float(compared["uncertainty_ms"].max()) if known else None,
                clock_drift_ms=float(offsets[-1] - offsets[0]) if len(offsets) > 1 else None,
                start_lateness_ms=late.get(rank),
            )
        )
    return tuple(found)


def _start_lateness(tables: RunTables) -> dict[int, float]:
    """Mean over the common steps of each rank's aligned start less that of the first rank.

    Empty unless the clock of every rank is known.
    """
    steps = tables.steps[~tables.steps["is_tagged"]]
    clocks = tables.rank_clocks
    if steps["rank"].nunique() < 2 or not set(steps["rank"]) <= set(clocks["rank"]):
        return {}
    aligned = [_aligned(rows, clocks[clocks["rank"] == rank]) for rank, rows in _by_rank(steps)]
    starts = pd.concat(aligned, axis=1).dropna()
    if not len(starts):
        return {}
    late_ms = starts.sub(starts.min(axis=1), axis=0).mean() * 1e3
    return {int(rank): float(late_ms[rank]) for rank in late_ms.index}


def _by_rank(steps: pd.DataFrame) -> Any:
    return steps.groupby("rank")


def _aligned(steps: pd.DataFrame, clocks: pd.DataFrame) -> "pd.Series[Any]":
    """The starts of a rank's steps by rank 0's clock; the offset runs straight between readings."""
    rank = int(steps["rank"].iloc[0])
    starts = steps.set_index("step")["start_unix_s"]
    known = clocks.sort_values("at_unix_s")
    offset_ms = np.interp(starts.to_numpy(), known["at_unix_s"], known["offset_ms"])
    return pd.Series(starts.to_numpy() - offset_ms / 1e3, index=starts.index, name=rank)
