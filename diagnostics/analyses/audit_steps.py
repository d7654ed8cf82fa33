"""The audit of recorded steps: complete, once each, from a steady clock, and as the log says."""

import numpy as np
import pandas as pd

from diagnostics.analyses.audit_doubt import Audit, Auditor
from diagnostics.analyses.audit_limits import STEP_LIMITS
from diagnostics.analyses.audit_warm_up import warm_up
from diagnostics.analyses.recorder_cost import RecorderCost
from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import FACTS, Run

STEP = "step"
LEAST_LOG_LINES = 3
"""Fewer lines of a log do not show that its clock is another one."""


def audit_steps(run: Run, cost: RecorderCost | None) -> Audit:
    """Every check of a run's facts, and of the log beside them; none without facts."""
    auditor = Auditor("steps", "facts", STEP_LIMITS)
    if run.evidence != FACTS or not len(run.tables.steps):
        return auditor.audit()
    steps = run.tables.steps
    _numbers(auditor, steps)
    _ranks(auditor, run)
    _end(auditor, run)
    times = _step_times(run)
    _warm_up(auditor, run, times)
    _clock(auditor, run, times)
    _log(auditor, run, times)
    if cost is not None:
        auditor.judge("recorder_overhead", cost.share_of_step)
    return auditor.audit()


def _numbers(auditor: Auditor, steps: pd.DataFrame) -> None:
    """Steps of a rank that are missing between its first and its last, or there twice."""
    missing, doubled, expected = 0, 0, 0
    for _, own in steps.groupby("rank"):
        distinct = own["step"].nunique()
        span = int(own["step"].max() - own["step"].min()) + 1
        expected += span
        missing += span - distinct
        doubled += len(own) - distinct
    auditor.judge("steps_missing", missing / expected, missing=missing, expected=expected)
    auditor.judge("steps_doubled", doubled / expected, doubled=doubled, expected=expected)


def _ranks(auditor: Auditor, run: Run) -> None:
    said = [
        values.get("world_size")
        for values in run.tables.events.loc[run.tables.events["name"] == "rank_place", "values"]
    ]
    sizes = [size for size in said if isinstance(size, int) and size > 0]
    if not sizes:
        return
    there, expected = run.tables.steps["rank"].nunique(), max(sizes)
    lost = max(0, expected - there)
    auditor.judge("ranks_missing", lost / expected, there=there, expected=expected)


def _end(auditor: Auditor, run: Run) -> None:
    if run.info.status is not None:
        auditor.judge("end_missing", float(run.info.status == "running"))


def _step_times(run: Run) -> pd.DataFrame:
    """Host time of every step of every rank, with its start."""
    phases = run.tables.phases
    whole = phases[(phases["name"] == STEP) & (phases["clock"] == "host")]
    starts = run.tables.steps[["rank", "step", "start_unix_s", "is_tagged"]]
    joined = whole[["rank", "step", "ms"]].merge(starts, on=["rank", "step"])
    return joined.sort_values(["rank", "step"], kind="stable")


def _warm_up(auditor: Auditor, run: Run, times: pd.DataFrame) -> None:
    """Among the ordinary steps: the tagged first one is left out of the means already."""
    if not len(times):
        return
    ordinary = select_ordinary(times).rows
    series = ordinary.groupby("step")["ms"].max().to_numpy()
    found = warm_up(series)
    if found is not None:
        auditor.judge(
            "warm_up_inside", found.added_share, steps=found.num_steps, ratio=found.first_ratio
        )


def _clock(auditor: Auditor, run: Run, times: pd.DataFrame) -> None:
    """A step starts where the last one, or the last span outside of steps, ended.

    Where it starts earlier than that, the machine's clock was set back meanwhile. A start that is
    later may as well be a pause that nobody recorded, and is no sign.
    """
    worst_s, at_step, known = 0.0, 0, False
    for _, own in times.groupby("rank"):
        start = own["start_unix_s"].to_numpy()
        end = start + own["ms"].to_numpy() / 1e3
        early_s = end[:-1] - start[1:]
        early_s = early_s[np.isfinite(early_s)]
        known = known or bool(len(early_s))
        if len(early_s) and early_s.max() > worst_s:
            worst_s = float(early_s.max())
            at_step = int(own["step"].to_numpy()[1:][np.argmax(early_s)])
    if known:
        auditor.judge("clock_stepped", worst_s, seconds=worst_s, step=at_step)


def _log(auditor: Auditor, run: Run, times: pd.DataFrame) -> None:
    """Step times of the text log against the means of the same steps in the facts."""
    lines = run.tables.log_steps
    lines = lines[lines["step_time_ms"].notna()]
    if len(lines) < LEAST_LOG_LINES or not len(times):
        return
    ordinary = select_ordinary(times[times["rank"] == times["rank"].min()]).rows
    numbers, ms = ordinary["step"].to_numpy(), ordinary["ms"].to_numpy()
    ends = lines["step"].to_numpy()
    begins = np.concatenate([[-1], ends[:-1]])
    off = []
    for begin, end, said in zip(begins, ends, lines["step_time_ms"], strict=True):
        own = ms[(numbers > begin) & (numbers <= end)]
        if len(own):
            off.append(abs(float(said) / float(own.mean()) - 1.0))
    if off:
        auditor.judge("log_against_facts", float(np.median(off)), lines=len(off))
