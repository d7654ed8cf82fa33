"""Samples per second, of all ranks together: inside the steps, and by the wall clock."""

from dataclasses import dataclass

import pandas as pd

from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import TEXT_LOG_ONLY, Run


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Samples (clips) per second of all ranks; None is unknown, and `reasons` says why.

    `samples_per_s` counts the time of ordinary steps alone: what the training loop can do.
    `wall_samples_per_s` counts all samples over the time from the first step's start to the last
    one's end, validation, checkpoints and tagged steps included: what a person waits for.
    """

    samples_per_s: float | None
    samples_per_step: float | None
    num_steps: int
    wall_samples_per_s: float | None
    wall_s: float | None
    reasons: tuple[str, ...] = ()


def compute_throughput(run: Run) -> Throughput:
    """The throughput, from facts where there are steps in them, else as the log states it."""
    if run.evidence == TEXT_LOG_ONLY:
        return _from_log(run)
    return _from_facts(run)


def _from_facts(run: Run) -> Throughput:
    steps = run.tables.steps
    used = _by_step(run, select_ordinary(steps).rows)
    time_s = used["ms"].sum() / 1000
    wall_s = _wall_s(run)
    return Throughput(
        samples_per_s=_ratio(used["samples"].sum(), time_s),
        samples_per_step=_ratio(used["samples"].sum(), len(used)),
        num_steps=len(used),
        wall_samples_per_s=None if wall_s is None else _ratio(_sum(steps["samples"]), wall_s),
        wall_s=wall_s,
        reasons=() if time_s > 0 else (_why_unknown(steps),),
    )


def _why_unknown(steps: pd.DataFrame) -> str:
    if len(steps) and steps["samples"].isna().all():
        return "the training loop did not say how many samples a step has"
    return "no ordinary step has a time"


def _by_step(run: Run, steps: pd.DataFrame) -> pd.DataFrame:
    """Samples of all ranks and time of the slowest for each step: the others wait for it."""
    samples = steps.groupby("step")["samples"].sum(min_count=1)
    phases = run.tables.phases
    is_whole = (phases["name"] == "step") & (phases["clock"] == "host")
    slowest = phases[is_whole].groupby("step")["ms"].max()
    return pd.DataFrame({"samples": samples, "ms": slowest.reindex(samples.index)}).dropna()


def _wall_s(run: Run) -> float | None:
    """From the first start to the last end, on the clock of the lowest rank's machine."""
    steps, phases = run.tables.steps, run.tables.phases
    rank = steps["rank"].min()
    starts = steps[steps["rank"] == rank].set_index("step")["start_unix_s"]
    is_whole = (phases["name"] == "step") & (phases["clock"] == "host") & (phases["rank"] == rank)
    times_ms = phases[is_whole].set_index("step")["ms"].reindex(starts.index)
    ends = starts + times_ms.fillna(0.0) / 1000
    wall_s = float(ends.max() - starts.min())
    return wall_s if wall_s > 0 else None


def _from_log(run: Run) -> Throughput:
    """Samples per second weighted by the time they were kept up; steps as the lines tell them."""
    lines = run.tables.log_steps.set_index("step")
    windows = select_ordinary(run.tables.steps).rows.set_index("step")
    stated = lines.reindex(windows.index)[["samples_per_s", "step_time_ms"]]
    stated = stated.assign(num_steps=windows["num_steps"]).dropna(subset=["samples_per_s"])
    if not len(stated):
        return Throughput(
            samples_per_s=None,
            samples_per_step=None,
            num_steps=0,
            wall_samples_per_s=None,
            wall_s=None,
            reasons=("no line of the log states samples/s",),
        )
    has_time = bool(stated["step_time_ms"].notna().all())
    # The original's lines state no step time: its steps count alike.
    weights = stated["num_steps"] * (stated["step_time_ms"] if has_time else 1.0)
    samples_per_s = _ratio((stated["samples_per_s"] * weights).sum(), weights.sum())
    num_steps = int(stated["num_steps"].sum())
    per_step = None
    if has_time and samples_per_s is not None:
        per_step = float(samples_per_s * weights.sum() / 1000 / num_steps)
    return _with_wall(run, samples_per_s, per_step, num_steps)


def _with_wall(
    run: Run, samples_per_s: float | None, samples_per_step: float | None, num_steps: int
) -> Throughput:
    """The wall time from the progress lines, which are exact to a second."""
    progress = run.tables.progress.dropna(subset=["elapsed_s"])
    wall_s = wall_samples_per_s = None
    if len(progress) > 1:
        first, last = progress.iloc[0], progress.iloc[-1]
        wall_s = float(last["elapsed_s"] - first["elapsed_s"]) or None
        steps = float(last["step"] - first["step"])
        if samples_per_step is not None and wall_s is not None and wall_s > 0:
            wall_samples_per_s = steps * samples_per_step / wall_s
    return Throughput(
        samples_per_s=samples_per_s,
        samples_per_step=samples_per_step,
        num_steps=num_steps,
        wall_samples_per_s=wall_samples_per_s,
        wall_s=wall_s,
        reasons=(
            "as the lines of the log state it, rounded there",
            *(() if wall_s else ("the log's progress lines are too few for a wall time",)),
        ),
    )


def _sum(samples: pd.Series) -> float:
    """NaN where no step says its samples."""
    return float(samples.sum(min_count=1))


def _ratio(part: float, whole: float) -> float | None:
    if pd.isna(part):
        return None
    return float(part / whole) if whole > 0 else None
