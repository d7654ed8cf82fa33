"""Where the time of a step goes: phases of the step, stages of the forward, data against compute.

Statistics use ordinary steps only. When every step carries a tag, all are used and the reasons say
so. A step counts as tagged when it is so on any rank, because the other ranks waited for that one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from diagnostics.analyses.distribution import Distribution
from diagnostics.analyses.selection import count_selected, count_steps, select_ordinary
from diagnostics.analyses.step_parts import (
    CLOSURE_LIMIT,
    FORWARD_OTHER,
    STEP,
    Closure,
    PhaseTime,
    StageTime,
    phase_closures,
    phase_times,
    stage_closures,
    stage_times,
    step_times,
    summed_phases,
)
from diagnostics.analyses.unnamed_phases import without_unnamed_phases
from diagnostics.language import say
from diagnostics.run import TEXT_LOG_ONLY, TRACE_ONLY, Clock, Run

__all__ = [
    "CLOSURE_LIMIT",
    "COMPUTE_PHASES",
    "FORWARD_OTHER",
    "Closure",
    "DataAgainstCompute",
    "Distribution",
    "PhaseTime",
    "RankTime",
    "StageTime",
    "StepBreakdown",
    "compute_step_breakdown",
]

COMPUTE_PHASES = ("forward", "loss", "backward", "optimizer")
"""The phases in which the model works; `data_wait` and `h2d` are data, `other` is neither."""


@dataclass(frozen=True, kw_only=True)
class RankTime:
    """One rank's mean step on the host's clock; the shares are of its own step."""

    rank: int
    count: int
    step_mean_ms: float | None
    data_wait_mean_ms: float | None
    data_wait_share: float | None


@dataclass(frozen=True, kw_only=True)
class DataAgainstCompute:
    """Mean times of a step on one clock: waiting for data, copying it, computing, the rest.

    `data_wait_ms` is the host's wait for the next batch; `data_wait_exposed_ms` is the part in
    which the device had nothing to do (by events before and after on its compute stream; on a CPU
    equal to the wait), `data_wait_hidden_ms` the rest, never below 0. Both are None for a GPU that
    was timed by the host's clock alone. Shares are of the step by the same clock. None: not
    recorded, or it cannot be told.
    """

    clock: Clock
    step_ms: float
    data_wait_ms: float | None
    data_wait_share: float | None
    data_wait_exposed_ms: float | None
    data_wait_exposed_share: float | None
    data_wait_hidden_ms: float | None
    data_wait_hidden_share: float | None
    h2d_ms: float | None
    h2d_share: float | None
    compute_ms: float | None
    compute_share: float | None
    other_ms: float | None
    other_share: float | None


@dataclass(frozen=True, kw_only=True)
class StepBreakdown:
    """The whole picture of a step.

    `clock` is the one to judge by (device where there is one); `phases` and `stages` hold every
    clock that was recorded, that one first, in order of execution. `step` is the whole step on the
    host's clock, None when not even that is known. `count` steps entered the means, `excluded`
    were left out, by tag in `excluded_by_tag` (a step with two in both) and by all tags of a step
    in `excluded_by_tags`; `is_tagged_included` is True when only tagged steps
    were there. `is_window_means` is True for a text log. `reasons` says in sentences what was
    left out or could not be known.
    """

    clock: Clock | None
    count: int
    excluded: int
    excluded_by_tag: Mapping[str, int] = field(default_factory=dict)
    excluded_by_tags: Mapping[str, int] = field(default_factory=dict)
    is_tagged_included: bool = False
    is_window_means: bool = False
    step: Distribution | None = None
    phases: tuple[PhaseTime, ...] = ()
    stages: tuple[StageTime, ...] = ()
    ranks: tuple[RankTime, ...] = ()
    data_against_compute: DataAgainstCompute | None = None
    closures: tuple[Closure, ...] = ()
    reasons: tuple[str, ...] = ()

    def phase(self, name: str, clock: Clock | None = None) -> PhaseTime | None:
        """The phase by the given clock, by default the one to judge by; None if not recorded."""
        wanted = clock or self.clock
        found = (each for each in self.phases if each.name == name and each.clock == wanted)
        return next(found, None)

    def stage(self, name: str, phase: str = "forward") -> StageTime | None:
        """The stage of the given phase by the clock to judge by; None if not recorded."""
        found = (
            each
            for each in self.stages
            if each.name == name and each.phase == phase and each.clock == self.clock
        )
        return next(found, None)


def compute_step_breakdown(run: Run) -> StepBreakdown:
    """The breakdown of the run's steps, from its tables `steps`, `phases` and `stages`."""
    steps = count_selected(run.tables.steps)
    phase_rows = select_ordinary(without_unnamed_phases(run))
    stage_rows = select_ordinary(run.tables.stages)
    clock = _clock_to_judge_by(run)
    wholes = step_times(phase_rows.rows)
    if run.evidence == TEXT_LOG_ONLY:
        wholes |= summed_phases(phase_rows.rows)
    phases = phase_times(phase_rows.rows, wholes, run.info.phases)
    stages = stage_times(stage_rows.rows, phase_rows.rows, run.info.stages)
    breakdown = StepBreakdown(
        clock=clock,
        count=steps.count,
        excluded=steps.excluded,
        excluded_by_tag=steps.by_tag,
        excluded_by_tags=steps.by_tags,
        is_tagged_included=phase_rows.is_tagged_included or stage_rows.is_tagged_included,
        is_window_means=run.evidence == TEXT_LOG_ONLY,
        step=_whole_step(run, wholes, clock),
        phases=tuple(sorted(phases, key=lambda each: each.clock != clock)),
        stages=tuple(sorted(stages, key=lambda each: each.clock != clock)),
        ranks=_rank_times(phase_rows.rows),
        data_against_compute=_data_against_compute(
            phases, wholes, clock, knows_device=clock == "device" or not _is_on_gpu(run)
        ),
        closures=(
            *phase_closures(phases, wholes),
            *stage_closures(stages, stage_rows.rows, phase_rows.rows),
        ),
    )
    return replace(breakdown, reasons=tuple(_reasons(run, breakdown, wholes)))


def _whole_step(
    run: Run, wholes: Mapping[Clock, Distribution], clock: Clock | None
) -> Distribution | None:
    """By the host's clock; of a trace by that of its phases, since work reaches past the host."""
    of_trace = wholes.get(clock) if run.evidence == TRACE_ONLY and clock else None
    return of_trace or wholes.get("host") or wholes.get("device")


def _clock_to_judge_by(run: Run) -> Clock | None:
    """The device's where it was recorded, also when meta.json is lost."""
    recorded = set(run.tables.phases["clock"].unique())
    if "device" in recorded:
        return "device"
    return "host" if recorded else run.info.clock


def _rank_times(phase_rows: pd.DataFrame) -> tuple[RankTime, ...]:
    rows = phase_rows[phase_rows["clock"] == "host"]
    ranks = sorted(int(rank) for rank in rows["rank"].unique())
    return tuple(_rank_time(rank, rows[rows["rank"] == rank]) for rank in ranks)


def _rank_time(rank: int, rows: pd.DataFrame) -> RankTime:
    step, wait = _mean_ms(rows, STEP), _mean_ms(rows, "data_wait")
    return RankTime(
        rank=rank,
        count=count_steps(rows[rows["name"] == STEP]),
        step_mean_ms=step,
        data_wait_mean_ms=wait,
        data_wait_share=_share(wait, step),
    )


def _mean_ms(rows: pd.DataFrame, name: str) -> float | None:
    part = rows[rows["name"] == name]
    if not len(part):
        return None
    return float((part["ms"] * part["num_steps"]).sum() / part["num_steps"].sum())


def _is_on_gpu(run: Run) -> bool:
    kind = run.info.device.get("type")
    return kind == "cuda" or (kind is None and len(run.tables.gpus) > 0)


def _data_against_compute(
    phases: tuple[PhaseTime, ...],
    wholes: Mapping[Clock, Distribution],
    clock: Clock | None,
    *,
    knows_device: bool,
) -> DataAgainstCompute | None:
    """None without the time of a step; that of the other clock serves where one has none."""
    whole = wholes.get(clock or "host") or wholes.get("host")
    if whole is None or clock is None or whole.mean_ms <= 0:
        return None
    means = {(each.name, each.clock): each.mean_ms for each in phases}
    host_whole = wholes.get("host") or whole
    parts = [means[name, clock] for name in COMPUTE_PHASES if (name, clock) in means]
    compute = sum(parts) if parts else None
    wait = means.get(("data_wait", "host"))
    exposed = means.get(("data_wait", clock)) if knows_device else None
    hidden = None if wait is None or exposed is None else max(0.0, wait - exposed)
    copy, other = means.get(("h2d", clock)), means.get(("other", clock))
    return DataAgainstCompute(
        clock=clock,
        step_ms=whole.mean_ms,
        data_wait_ms=wait,
        data_wait_share=_share(wait, host_whole.mean_ms),
        data_wait_exposed_ms=exposed,
        data_wait_exposed_share=_share(exposed, whole.mean_ms),
        data_wait_hidden_ms=hidden,
        data_wait_hidden_share=_share(hidden, host_whole.mean_ms),
        h2d_ms=copy,
        h2d_share=_share(copy, whole.mean_ms),
        compute_ms=compute,
        compute_share=_share(compute, whole.mean_ms),
        other_ms=other,
        other_share=_share(other, whole.mean_ms),
    )


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _reasons(
    run: Run, breakdown: StepBreakdown, wholes: Mapping[Clock, Distribution]
) -> Iterator[str]:
    if breakdown.is_tagged_included:
        yield (
            "every step carries a tag, so all of them were used: the times contain "
            "warming up or interruptions"
        )
    if not len(run.tables.steps):
        yield "no step was recorded"
    elif not breakdown.phases:
        yield "no stage line was written: where the time of a step goes is unknown"
    if breakdown.is_window_means and breakdown.step is not None:
        yield (
            "from the text log alone: each value is a mean over several steps, so median and p95 "
            "are those of the means, and tags other than first, validation and checkpoint are "
            "unknown"
        )
    data = breakdown.data_against_compute
    if data is not None and data.data_wait_hidden_ms is None:
        yield from _why_not_told(data)
    if breakdown.phases and breakdown.clock not in wholes:
        yield (
            say(
                "the step's time by the {clock} clock is unknown: shares of the step are of "
                "the sum of its phases",
                clock=breakdown.clock,
            )
        )


def _why_not_told(data: DataAgainstCompute) -> Iterator[str]:
    if data.data_wait_ms is not None and data.data_wait_exposed_ms is None:
        yield (
            "the wait for data was timed on the host alone: how much of it the GPU's queued work "
            "hid cannot be told"
        )
    elif data.data_wait_exposed_ms is not None:
        yield "the host's wait for data is unknown, and with it how much of it was hidden"
