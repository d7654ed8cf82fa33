"""What a run spends outside its steps: validation, checkpoints, the start; and what is not saved.

Times are wall-clock time of the lowest rank, from its first step's start to the end of its last
step or span.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from diagnostics.run import TEXT_LOG_ONLY, Run

VALIDATION, CHECKPOINT = "validation", "checkpoint"


@dataclass(frozen=True, kw_only=True)
class SpanUse:
    """All spans of one name; `ms_per_step` shares their time among all steps."""

    count: int
    total_ms: float
    mean_ms: float
    longest_ms: float
    ms_per_step: float
    wall_share: float


@dataclass(frozen=True, kw_only=True)
class OutsideSteps:
    """Time outside the steps. None: not recorded, or no step.

    `first_step_after_s` is the time from the run's start to its first step. `unsaved_steps` and
    `unsaved_s` reach from the last checkpoint, or from the first step without one, to the last
    step.
    """

    wall_s: float | None = None
    num_steps: int = 0
    spans: Mapping[str, SpanUse] = field(default_factory=dict)
    first_step_after_s: float | None = None
    unsaved_steps: int | None = None
    unsaved_s: float | None = None


def compute_outside_steps(run: Run) -> OutsideSteps:
    """Spans against the wall time; a text log states no duration of spans."""
    steps = run.tables.steps
    started = steps[steps["rank"] == steps["rank"].min()].dropna(subset=["start_unix_s"])
    if run.evidence == TEXT_LOG_ONLY or not len(started):
        return OutsideSteps()
    rank = int(started["rank"].iloc[0])
    spans = run.tables.spans
    spans = spans[spans["rank"] == rank].dropna(subset=["start_unix_s", "ms"])
    begin = float(started["start_unix_s"].min())
    last_end = _last_end(run, started, rank)
    inside = spans[spans["start_unix_s"] >= begin]
    ends = inside["start_unix_s"] + inside["ms"] / 1000
    wall_s = max([last_end, *ends.tolist()]) - begin
    saved_step, saved_at = _last_saved(inside, started, begin)
    return OutsideSteps(
        wall_s=wall_s if wall_s > 0 else None,
        num_steps=len(started),
        spans=_uses(inside, len(started), wall_s) if wall_s > 0 else {},
        first_step_after_s=_since_start(run, begin),
        unsaved_steps=max(0, int(started["step"].max()) - saved_step),
        unsaved_s=max(0.0, last_end - saved_at),
    )


def _last_end(run: Run, started: pd.DataFrame, rank: int) -> float:
    phases = run.tables.phases
    is_whole = (phases["name"] == "step") & (phases["clock"] == "host") & (phases["rank"] == rank)
    ms = phases[is_whole].drop_duplicates("step").set_index("step")["ms"]
    ends = started["start_unix_s"] + started["step"].map(ms).fillna(0.0) / 1000
    return float(ends.max())


def _uses(spans: pd.DataFrame, num_steps: int, wall_s: float) -> dict[str, SpanUse]:
    return {
        str(name): SpanUse(
            count=len(rows),
            total_ms=float(rows["ms"].sum()),
            mean_ms=float(rows["ms"].mean()),
            longest_ms=float(rows["ms"].max()),
            ms_per_step=float(rows["ms"].sum()) / num_steps,
            wall_share=min(1.0, float(rows["ms"].sum()) / 1000 / wall_s),
        )
        for name, rows in spans.groupby("name", observed=True)
    }


def _last_saved(spans: pd.DataFrame, started: pd.DataFrame, begin: float) -> tuple[int, float]:
    """Step and time of the last checkpoint; without one the run's own first step."""
    saved = spans[spans["name"] == CHECKPOINT]
    if not len(saved):
        return int(started["step"].min()) - 1, begin
    last = saved.sort_values("start_unix_s").tail(1)
    ended = last["start_unix_s"] + last["ms"] / 1000
    return int(last["step"].iloc[0]), float(ended.iloc[0])


def _since_start(run: Run, begin_unix_s: float) -> float | None:
    if run.info.started_at is None:
        return None
    try:
        started = datetime.fromisoformat(run.info.started_at)
    except ValueError:
        return None
    if started.tzinfo is None:  # a time of no known zone is no point in time
        return None
    seconds = begin_unix_s - started.timestamp()
    return seconds if seconds >= 0 else None
