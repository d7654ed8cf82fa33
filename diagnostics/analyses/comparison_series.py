"""The series of a run that a comparison looks at: one row for each ordinary step or sample.

A step's phases are means over its ranks, so that the parts of a step keep summing to it. A part
that a step did not have took it no time.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.gpu_load import bare_uuid, ranks_by_uuid
from diagnostics.analyses.selection import select_ordinary
from diagnostics.analyses.step_parts import STEP
from diagnostics.run import TEXT_LOG_ONLY, Clock, Run

_KEY = ["rank", "step"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepSeries:
    """The steps of a run by one clock, in the order of time.

    `whole_ms` is the step, `parts_ms` its phases (columns); the rows of all three belong together.
    `weights` says how many steps each row stands for.
    """

    whole_ms: Floats
    parts_ms: pd.DataFrame
    weights: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class RatioSeries:
    """Rows whose sums are divided: a mean is a sum of values over a sum of weights."""

    top: Floats
    bottom: Floats


def clocks_of(run: Run) -> tuple[Clock, ...]:
    """The clocks by which phases were recorded, the device's first."""
    recorded = set(run.tables.phases["clock"].unique())
    known: tuple[Clock, ...] = ("device", "host")
    return tuple(clock for clock in known if clock in recorded)


def is_tagged_throughout(run: Run) -> bool:
    """Whether every step carries a tag, so that none is an ordinary one."""
    return select_ordinary(run.tables.phases).is_tagged_included


def step_series(run: Run, clock: Clock) -> StepSeries:
    """The ordinary steps of the run; without a row where none was recorded by that clock."""
    rows = select_ordinary(run.tables.phases).rows
    rows = rows[rows["clock"] == clock]
    parts = _wide(rows[rows["name"] != STEP], "name")
    whole = rows[rows["name"] == STEP].set_index(_KEY)["ms"]
    weights = rows.groupby(_KEY, observed=True)["num_steps"].first()
    is_line = parts.notna().sum(axis=1) > 1
    if run.evidence == TEXT_LOG_ONLY and is_line.any():
        # Its step lines and its stage lines are means over different steps.
        parts = parts[is_line]
        whole = parts.sum(axis=1)
    elif not len(whole):
        whole = parts.sum(axis=1)
    order = [name for name in dict.fromkeys(rows["name"]) if name in parts.columns]
    parts = parts[order].reindex(whole.index).fillna(0.0)
    together = parts.assign(**{STEP: whole, "weight": weights.reindex(whole.index)})
    by_step = together.groupby(level="step").mean().sort_index()
    return StepSeries(
        whole_ms=by_step[STEP].to_numpy(dtype="float64"),
        parts_ms=by_step.drop(columns=[STEP, "weight"]),
        weights=by_step["weight"].to_numpy(dtype="float64"),
    )


def stage_series(run: Run, clock: Clock) -> dict[tuple[str, str], RatioSeries]:
    """Each stage in each direction: `("vrt.stage8", "forward")`; over steps that hold stages."""
    rows = select_ordinary(run.tables.stages).rows
    rows = rows[rows["clock"] == clock]
    if not len(rows):
        return {}
    wide = _wide(rows, ["name", "phase"]).fillna(0.0)
    weights = rows.groupby(_KEY, observed=True)["num_steps"].first().reindex(wide.index)
    means = wide.groupby(level="step").mean().sort_index()
    counts = weights.groupby(level="step").mean().sort_index().to_numpy(dtype="float64")
    return {
        (str(key[0]), str(key[1])): RatioSeries(
            top=means[key].to_numpy(dtype="float64") * counts, bottom=counts
        )
        for key in means.columns.to_flat_index()
    }


def _wide(rows: pd.DataFrame, columns: str | list[str]) -> pd.DataFrame:
    """One row for each step of each rank, one column for each part."""
    return rows.pivot_table(index=_KEY, columns=columns, values="ms", aggfunc="sum", observed=True)


def rate_series(run: Run) -> RatioSeries | None:
    """Samples of all ranks and seconds of the slowest, by ordinary step; None if not known."""
    if select_ordinary(run.tables.steps).is_tagged_included:
        return None
    if run.evidence == TEXT_LOG_ONLY:
        return _rate_of_log(run)
    steps = select_ordinary(run.tables.steps).rows
    samples = steps.groupby("step")["samples"].sum(min_count=1)
    phases = run.tables.phases
    is_whole = (phases["name"] == STEP) & (phases["clock"] == "host")
    slowest = phases[is_whole].groupby("step")["ms"].max()
    held = pd.DataFrame({"samples": samples, "ms": slowest.reindex(samples.index)}).dropna()
    return _ratio(held["samples"], held["ms"] / 1000)


def _rate_of_log(run: Run) -> RatioSeries | None:
    """As the lines state it, each weighted by its time; alike where no line states a time."""
    windows = select_ordinary(run.tables.steps).rows
    lines = run.tables.log_steps
    held = lines[lines["step"].isin(windows["step"])].dropna(subset=["samples_per_s"])
    times = held["step_time_ms"]
    weights = times if len(times) and times.notna().all() else times.fillna(1.0) * 0 + 1.0
    return _ratio(held["samples_per_s"] * weights, weights)


def _ratio(top: "pd.Series[float]", bottom: "pd.Series[float]") -> RatioSeries | None:
    if not len(top) or not bottom.sum() > 0:
        return None
    return RatioSeries(
        top=np.asarray(top, dtype="float64"), bottom=np.asarray(bottom, dtype="float64")
    )


def gpu_use_series(run: Run) -> RatioSeries | None:
    """NVML utilisation over time, the mean of the GPUs that the ranks used."""
    gpus = _while_stepping(run, run.tables.gpus.dropna(subset=["util_percent"]))
    used = set(ranks_by_uuid(run))
    if used:
        is_used = [isinstance(uuid, str) and bare_uuid(uuid) in used for uuid in gpus["uuid"]]
        return _over_time(gpus[is_used], "util_percent")
    return _over_time(_busiest(gpus, run.info.world_size or 1), "util_percent")


def _busiest(gpus: pd.DataFrame, count: int) -> pd.DataFrame:
    places = gpus["host"].astype(str) + " " + gpus["index"].astype(str)
    means = gpus["util_percent"].groupby(places).mean()
    return gpus[places.isin(means.sort_values(ascending=False).index[:count])]


def cpu_use_series(run: Run) -> RatioSeries | None:
    """Use of all cores over time, the mean of the machines."""
    rows = _while_stepping(run, run.tables.host.dropna(subset=["cpu_percent"]))
    return _over_time(rows, "cpu_percent")


def _while_stepping(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """The samples between the start of the first ordinary step and that of the last."""
    starts = select_ordinary(run.tables.steps).rows["start_unix_s"].dropna()
    if not len(starts):
        return rows
    return rows[rows["at_unix_s"].between(starts.min(), starts.max())]


def _over_time(rows: pd.DataFrame, column: str) -> RatioSeries | None:
    means = rows.groupby("at_unix_s")[column].mean().sort_index()
    return _ratio(means, pd.Series(1.0, index=means.index))
