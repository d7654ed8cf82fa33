"""Each rank over the course of a run: what a step took it by itself. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.selection import select_ordinary
from diagnostics.analyses.step_parts import STEP
from diagnostics.report.series_buckets import Bucket, is_near, make_buckets, step_edges
from diagnostics.run import Clock, Run

MAX_LANES = 32
MAX_LANE_BUCKETS = 96
_KEY = ["rank", "step"]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One rank: the mean of all its steps in ms, and its course."""

    rank: int
    mean_ms: float
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, kw_only=True)
class RankLanes:
    """The ranks by number; of more than `MAX_LANES` the slowest.

    `is_own`: their steps without the waits for other ranks, else whole steps, which take all ranks
    equally long. `low_ms` and `high_ms` are the lowest and highest mean of a bucket.
    """

    clock: Clock
    is_own: bool
    lanes: tuple[Lane, ...]
    num_left_out: int
    low_ms: float
    high_ms: float


def compute_rank_lanes(run: Run) -> RankLanes | None:
    """Ordinary steps of every rank; None with fewer than two ranks."""
    phases = run.tables.phases
    clock: Clock = "device" if "device" in set(run.tables.communication["clock"]) else "host"
    rows = phases[(phases["name"] == STEP) & (phases["clock"] == clock)]
    rows = rows[is_near(rows["step"].to_numpy(dtype="float64"))]
    rows = select_ordinary(rows).rows
    if rows["rank"].nunique() < 2:
        return None
    own = _without_waits(rows, run.tables.communication, clock)
    rows = rows if own is None else own
    edges = step_edges(rows["step"].to_numpy(dtype="int64"), MAX_LANE_BUCKETS)
    drawn = (_lane(int(str(rank)), part, edges) for rank, part in rows.groupby("rank"))
    lanes = [lane for lane in drawn if lane.buckets]
    if not lanes:
        return None
    slowest = sorted(lanes, key=lambda each: (-each.mean_ms, each.rank))[:MAX_LANES]
    means = [bucket.mean for lane in slowest for bucket in lane.buckets]
    return RankLanes(
        clock=clock,
        is_own=own is not None,
        lanes=tuple(sorted(slowest, key=lambda each: each.rank)),
        num_left_out=len(lanes) - len(slowest),
        low_ms=min(means),
        high_ms=max(means),
    )


def _without_waits(
    rows: pd.DataFrame, exchanged: pd.DataFrame, clock: Clock
) -> pd.DataFrame | None:
    """The steps less what the rank waited in them; None where that is not known of two ranks."""
    waits = exchanged.loc[exchanged["clock"] == clock, [*_KEY, "exposed_ms", "wait_ms"]]
    joined = rows.merge(waits, on=_KEY, how="inner")
    if joined["rank"].nunique() < 2:
        return None
    own = (joined["ms"] - joined["exposed_ms"] - joined["wait_ms"]).clip(lower=0.0)
    return joined.assign(ms=own)


def _lane(rank: int, rows: pd.DataFrame, edges: Floats) -> Lane:
    steps, ms, weights = (
        rows[name].to_numpy(dtype="float64") for name in ("step", "ms", "num_steps")
    )
    return Lane(
        rank=rank,
        mean_ms=float(np.average(ms, weights=weights)),
        buckets=make_buckets(steps, ms, weights, edges),
    )
