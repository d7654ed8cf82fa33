"""What recording cost the run: host time of a step, bytes on disk, the sampler's processor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from diagnostics.analyses.distribution import quantile
from diagnostics.analyses.resources import sum_of_complete
from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import TEXT_LOG_ONLY, Run

WRITTEN = "profile_written"
THINNED = "recording_thinned"
OVER_BUDGET = "recording_over_budget"


@dataclass(frozen=True, kw_only=True)
class TraceCost:
    """One trace: its steps (as in `8-10`), size before compression, time that its export took."""

    rank: int
    steps: str | None
    plain_bytes: float | None
    export_ms: float | None


@dataclass(frozen=True, kw_only=True)
class RecorderCost:
    """What recording cost, over ordinary steps of all ranks; None was not recorded.

    `share_of_step` is the mean cost over the mean step on the host's clock. `bytes_per_step` are
    the facts of one rank. `sampler_cpu_percent` is the mean over a machine's samples; 100 is one
    core. `stages_every_steps`: stages were timed in every nth step at the end, 1 in all of them.
    `thinned_from_step` is the step of the first such change. `over_budget_share` is what it still
    cost where thinning could not reach `budget_share`.
    """

    count: int
    mean_ms: float | None
    median_ms: float | None
    p95_ms: float | None
    share_of_step: float | None
    bytes_per_step: float | None
    sampler_cpu_percent: float | None
    budget_share: float | None
    stages_every_steps: int | None
    thinned_from_step: int | None
    over_budget_share: float | None
    traces: tuple[TraceCost, ...] = ()


def compute_recorder_cost(run: Run) -> RecorderCost | None:
    """The cost of recording; None for a text log, which does not state it."""
    if run.evidence == TEXT_LOG_ONLY:
        return None
    costs = select_ordinary(run.tables.steps).rows.dropna(subset=["recorder_ms"])
    known = costs["recorder_ms"]
    mean_ms = float(known.mean()) if len(known) else None
    changes = list(_values_of(run, THINNED))
    every = {rank: n for rank, _, values in changes if (n := _number(values, "every_steps"))}
    over = [_number(values, "cost_share") for _, _, values in _values_of(run, OVER_BUDGET)]
    return RecorderCost(
        count=int(costs["step"].nunique()),
        mean_ms=mean_ms,
        median_ms=quantile(known, 0.5) if len(known) else None,
        p95_ms=quantile(known, 0.95) if len(known) else None,
        share_of_step=_share(mean_ms, _step_ms(run, costs)),
        bytes_per_step=_bytes_per_step(run),
        sampler_cpu_percent=_sampler_cpu_percent(run.tables.processes),
        budget_share=_budget(run),
        stages_every_steps=round(max(every.values(), default=1)) if len(known) else None,
        thinned_from_step=min((step for _, step, _ in changes), default=None),
        over_budget_share=max((share for share in over if share is not None), default=None),
        traces=tuple(_trace(rank, values) for rank, _, values in _values_of(run, WRITTEN)),
    )


def _values_of(run: Run, name: str) -> Iterator[tuple[int, int, Mapping[str, object]]]:
    """Rank, step and values of each event of the name, in the order of the table."""
    events = run.tables.events
    for row in events[events["name"] == name].to_dict("records"):
        yield int(row["rank"]), int(row["step"]), row["values"]


def _trace(rank: int, values: Mapping[str, object]) -> TraceCost:
    steps = values.get("steps")
    return TraceCost(
        rank=rank,
        steps=steps if isinstance(steps, str) else None,
        plain_bytes=_number(values, "plain_bytes"),
        export_ms=_number(values, "export_ms"),
    )


def _number(values: Mapping[str, object], key: str) -> float | None:
    value = values.get(key)
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1e15 else None


def _step_ms(run: Run, costs: pd.DataFrame) -> float | None:
    """The mean host time of the steps whose cost is known."""
    phases = run.tables.phases
    whole = phases[(phases["name"] == "step") & (phases["clock"] == "host")]
    both = costs[["rank", "step"]].merge(whole[["rank", "step", "ms"]], on=["rank", "step"])
    return float(both["ms"].mean()) if len(both) else None


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _bytes_per_step(run: Run) -> float | None:
    steps, size = len(run.tables.steps), run.info.facts_bytes
    return None if size is None or not steps else size / steps


def _sampler_cpu_percent(processes: pd.DataFrame) -> float | None:
    sampler = processes[processes["role"] == "sampler"]
    by_host = [
        sum_of_complete(rows.dropna(subset=["cpu_percent"]), "cpu_percent").mean()
        for _, rows in sampler.groupby("host", observed=True)
        if rows["cpu_percent"].notna().any()
    ]
    return float(max(by_host)) if by_host else None


def _budget(run: Run) -> float | None:
    section = run.info.config.get("PROFILING")
    return _number(section, "BUDGET_SHARE") if isinstance(section, Mapping) else None
