"""The steps of a run over its course: their time, phases, and those that carry a tag. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.selection import select_ordinary
from diagnostics.analyses.step_parts import STEP
from diagnostics.language import listed
from diagnostics.report.series_buckets import (
    Bucket,
    bucket_of,
    is_near,
    make_buckets,
    step_edges,
)
from diagnostics.run import Clock, Run

MAX_TAGS_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class TaggedSteps:
    """Tagged steps of one bucket: their number, the slowest of them with its time, their tags."""

    start: float
    end: float
    step: int
    count: int
    ms: float
    tags: str


@dataclass(frozen=True, kw_only=True)
class PhaseCourse:
    """Mean time of one phase in each bucket of `StepSeries.buckets`."""

    name: str
    ms: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class StepSeries:
    """The steps of all ranks by one clock, at most `MAX_BUCKETS` of each kind.

    `buckets` are of ordinary steps (of all, where every step is tagged), `tagged` of the others.
    `phases` are means over the steps of a bucket that recorded phases; empty without any.
    `phase_buckets` are the buckets that `phases` are means of.
    """

    clock: Clock
    first_step: int
    last_step: int
    buckets: tuple[Bucket, ...]
    tagged: tuple[TaggedSteps, ...]
    phase_buckets: tuple[Bucket, ...]
    phases: tuple[PhaseCourse, ...]


def compute_step_series(run: Run, clock: Clock | None, order: Sequence[str]) -> StepSeries | None:
    """The series by the clock, else by the host's; None where no time of a step is known.

    `order` names the phases in the order in which they are to be stacked.
    """
    phases = run.tables.phases
    phases = phases[is_near(phases["step"].to_numpy(dtype="float64"))]
    wholes = phases[phases["name"] == STEP]
    chosen: Clock = "device" if clock == "device" and clock in set(wholes["clock"]) else "host"
    wholes = wholes[wholes["clock"] == chosen]
    if not len(wholes):
        return None
    edges = step_edges(wholes["step"].to_numpy(dtype="int64"))
    ordinary = select_ordinary(wholes)
    tagged = wholes.loc[~wholes.index.isin(ordinary.rows.index)]
    parts = phases[(phases["clock"] == chosen) & (phases["name"] != STEP)]
    buckets, courses = _phase_courses(select_ordinary(parts).rows, edges, order)
    return StepSeries(
        clock=chosen,
        first_step=int(edges[0]),
        last_step=int(edges[-1]) - 1,
        buckets=_of_rows(ordinary.rows, edges),
        tagged=_tagged(tagged, run.tables.steps, edges),
        phase_buckets=buckets,
        phases=courses,
    )


def _of_rows(rows: pd.DataFrame, edges: Floats) -> tuple[Bucket, ...]:
    steps, ms, weights = (
        rows[name].to_numpy(dtype="float64") for name in ("step", "ms", "num_steps")
    )
    return make_buckets(steps, ms, weights, edges)


def _phase_courses(
    rows: pd.DataFrame, edges: Floats, order: Sequence[str]
) -> tuple[tuple[Bucket, ...], tuple[PhaseCourse, ...]]:
    """Means over the steps of a bucket; a phase that a step did not have counts as 0 there."""
    if not len(rows):
        return (), ()
    steps = rows.groupby(["rank", "step"], as_index=False).agg(
        ms=("ms", "sum"), num_steps=("num_steps", "max")
    )
    buckets = _of_rows(steps, edges)
    if not buckets:
        return (), ()
    firsts = np.array([each.first for each in buckets], dtype="float64")
    numbers = bucket_of(firsts, edges)
    weights = _sums(steps["step"], steps["num_steps"], edges)[numbers]
    present = [name for name in order if name in set(rows["name"].unique())]
    courses = []
    for name in present:
        mine = rows[rows["name"] == name]
        spent = _sums(mine["step"], mine["ms"] * mine["num_steps"], edges)[numbers] / weights
        courses.append(PhaseCourse(name=name, ms=tuple(spent.tolist())))
    return buckets, tuple(courses)


def _sums(steps: "pd.Series[int]", values: "pd.Series[float]", edges: Floats) -> Floats:
    index = bucket_of(np.asarray(steps, dtype="float64"), edges)
    sums = np.bincount(index, weights=values.to_numpy(dtype="float64"), minlength=len(edges) - 1)
    return np.asarray(sums, dtype="float64")


def _tagged(rows: pd.DataFrame, steps: pd.DataFrame, edges: Floats) -> tuple[TaggedSteps, ...]:
    if not len(rows):
        return ()
    named = steps.assign(tags=steps["tags"].astype("object"))[["rank", "step", "tags"]]
    joined = rows[["rank", "step", "ms"]].merge(named, on=["rank", "step"], how="left")
    joined = joined.assign(bucket=bucket_of(joined["step"].to_numpy(dtype="float64"), edges))
    return tuple(
        _tagged_of_bucket(int(str(bucket)), part, edges)
        for bucket, part in joined.groupby("bucket")
    )


def _tagged_of_bucket(bucket: int, rows: pd.DataFrame, edges: Floats) -> TaggedSteps:
    slowest = rows.iloc[int(rows["ms"].to_numpy().argmax())]
    tags = sorted({tag for each in rows["tags"].dropna() for tag in str(each).split(",") if tag})
    return TaggedSteps(
        start=float(edges[bucket]),
        end=float(edges[bucket + 1]),
        step=int(slowest["step"]),
        count=int(rows["step"].nunique()),
        ms=float(slowest["ms"]),
        tags=listed(tags[:MAX_TAGS_NAMED]),
    )
