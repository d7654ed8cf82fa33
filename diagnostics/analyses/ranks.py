"""Which rank the others wait for, by what, and what that costs.

Where ranks exchange gradients every step takes all of them equally long, so a step's time names
nobody. What a rank does by itself does: its step without its waits for the others. The rank with
the longest time of its own is the one that is waited for, and the group of phases in which it
exceeds the others says why. Steps are aligned by their number; only ordinary ones that every rank
recorded count, without the run's second: in its forward DDP agrees on its buckets, a wait for the
slowest rank that nobody measures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd

from diagnostics.analyses.rank_places import RankPlace, rank_places
from diagnostics.analyses.selection import select_ordinary
from diagnostics.language import listed, say
from diagnostics.run import Clock, Run

Cause = Literal["input", "compute", "communication"]
CAUSES: tuple[Cause, ...] = get_args(Cause)

INPUT_PHASES = ("data_wait", "h2d")
_OWN, _WAIT, _STEP = "own", "wait", "step"
LEAST_STEPS = 5
"""Fewer common steps single out nobody."""

_STANDARD_ERRORS = 2.0
"""About 95 % of the means of equal ranks lie within so many standard errors of zero."""


@dataclass(frozen=True, kw_only=True)
class RankTimes:
    """Means over the common steps of one rank, in ms by the clock of the analysis.

    `own_ms` is the step without its waits; `by_cause` are its parts. `lateness_ms` is how much
    later than the first rank it was done with its own part; `slowest_share` is the share of steps
    in which no rank was later. `wait_ms` is what it waited for others, transfers included.
    """

    rank: int
    own_ms: float
    by_cause: Mapping[Cause, float]
    wait_ms: float
    lateness_ms: float
    slowest_share: float


@dataclass(frozen=True, kw_only=True)
class SlowestRank:
    """The rank that the others wait for most.

    `excess_ms` holds, by cause, its time above the median of the other ranks in the same step, the
    median over steps; `cause` is the largest. `cost_ms_per_step` is what a step would save if this
    rank took no longer than the slowest other one: the mean over steps of the maximum with it less
    the maximum without it. `cost_low_ms` is what it costs at least: the mean of its own time less
    that maximum, less two standard errors, so that chance costs nothing.
    """

    rank: int
    cause: Cause
    excess_ms: Mapping[Cause, float]
    cost_ms_per_step: float
    cost_low_ms: float
    slowest_share: float


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The ranks of a run side by side.

    `times` is empty where they cannot be compared; `reasons` say why, and what is missing.
    `imbalance_ms` is the mean over steps of the slowest rank less the median one, whichever ranks
    those were. `step_ms` is the mean step of the rank with the longest.
    """

    places: tuple[RankPlace, ...]
    clock: Clock | None = None
    num_steps: int = 0
    step_ms: float | None = None
    times: tuple[RankTimes, ...] = ()
    slowest: SlowestRank | None = None
    imbalance_ms: float | None = None
    reasons: tuple[str, ...] = field(default=())


def compute_ranks(run: Run) -> Ranks:
    """The ranks side by side, from the tables `phases` and `communication`."""
    places = rank_places(run.tables)
    reasons = list(_absences(run))
    present = sorted(int(rank) for rank in run.tables.steps["rank"].unique())
    if len(present) < 2:
        return Ranks(places=places, reasons=tuple(reasons))
    clock, parts = _parts(run)
    if parts is None:
        reasons.append(
            "what the ranks waited for each other was not recorded: nobody is singled out"
        )
        return Ranks(places=places, reasons=tuple(reasons))
    own = parts[_OWN].unstack("rank").dropna()
    if own.shape[1] < 2 or len(own) < LEAST_STEPS:
        reasons.append(
            say(
                "{num_own} ordinary step(s) that all ranks recorded (is|are) too few to compare "
                "them",
                num_own=len(own),
            )
        )
        return Ranks(places=places, clock=clock, num_steps=len(own), reasons=tuple(reasons))
    common = parts[parts.index.get_level_values("step").isin(own.index)]
    means = common.groupby(level="rank").mean()
    return Ranks(
        places=places,
        clock=clock,
        num_steps=len(own),
        step_ms=float(means[_STEP].max()),
        times=_times(own, means),
        slowest=_slowest(common, own, means),
        imbalance_ms=float((own.max(axis=1) - own.median(axis=1)).mean()),
        reasons=tuple(reasons),
    )


def _parts(run: Run) -> tuple[Clock | None, pd.DataFrame | None]:
    """For each step and rank: the step, its waits, its own part and that by cause."""
    exchanged = run.tables.communication
    if exchanged["rank"].nunique() < 2:
        return None, None
    clock: Clock = "device" if "device" in set(exchanged["clock"]) else "host"
    phases = select_ordinary(run.tables.phases).rows
    phases = phases[phases["clock"] == clock]
    by_phase = phases.pivot_table(
        index=["step", "rank"], columns="name", values="ms", aggfunc="sum", observed=True
    )
    waits = exchanged[exchanged["clock"] == clock].set_index(["step", "rank"])
    waits = waits.drop(index=run.tables.steps["step"].min() + 1, level="step", errors="ignore")
    table = by_phase.join(waits[["exposed_ms", "launch_ms", "wait_ms"]], how="inner")
    if _STEP not in table:
        return clock, None
    fetched = table.reindex(columns=list(INPUT_PHASES), fill_value=0.0).fillna(0.0).sum(axis=1)
    waited = table["exposed_ms"] + table["wait_ms"]
    own = table[_STEP] - waited
    parts = {
        _STEP: table[_STEP],
        _WAIT: waited,
        _OWN: own,
        "input": fetched,
        "communication": table["launch_ms"],
        "compute": own - fetched - table["launch_ms"],
    }
    return clock, pd.DataFrame(parts).dropna()


def _times(own: pd.DataFrame, means: pd.DataFrame) -> tuple[RankTimes, ...]:
    late = own.sub(own.min(axis=1), axis=0).mean()
    slowest = own.idxmax(axis=1)
    return tuple(
        RankTimes(
            rank=int(row["rank"]),
            own_ms=float(row[_OWN]),
            by_cause={cause: float(row[cause]) for cause in CAUSES},
            wait_ms=float(row[_WAIT]),
            lateness_ms=float(late[row["rank"]]),
            slowest_share=float((slowest == row["rank"]).mean()),
        )
        for row in means.reset_index().to_dict("records")
    )


def _slowest(common: pd.DataFrame, own: pd.DataFrame, means: pd.DataFrame) -> SlowestRank:
    place = int(means[_OWN].to_numpy().argmax())
    is_other = np.arange(len(means)) != place
    excess: dict[Cause, float] = {}
    for cause in CAUSES:
        spent = common[cause].unstack("rank").to_numpy()  # steps by ranks, in the means' order
        excess[cause] = float(np.median(spent[:, place] - np.median(spent[:, is_other], axis=1)))
    times = own.to_numpy()
    ahead = times[:, place] - times[:, is_other].max(axis=1)
    error = float(ahead.std(ddof=1)) / np.sqrt(len(ahead))
    return SlowestRank(
        rank=int(own.columns.to_numpy()[place]),
        cause=max(CAUSES, key=lambda cause: excess[cause]),
        excess_ms=excess,
        cost_ms_per_step=float(np.maximum(ahead, 0.0).mean()),
        cost_low_ms=max(0.0, float(ahead.mean() - _STANDARD_ERRORS * error)),
        slowest_share=float((ahead >= 0).mean()),
    )


def _absences(run: Run) -> Iterator[str]:
    """Ranks without a file, and ranks whose steps end before the others'."""
    last = run.tables.steps.groupby("rank")["step"].max()
    expected = run.info.world_size or 0
    missing = [rank for rank in range(min(expected, _MAX_NAMED)) if rank not in last.index]
    if missing and len(last):
        yield say(
            "of {expected} ranks, {named} left no step", expected=expected, named=_named(missing)
        )
    if len(last) and int(last.min()) < int(last.max()):
        behind = [int(rank) for rank in last.index if last[rank] < last.max()]
        yield (
            say(
                "{named} ended after step {first}, others went on to {last}: killed, cut off, "
                "or still being written",
                named=_named(behind),
                first=int(last.min()),
                last=int(last.max()),
            )
        )


_MAX_NAMED = 100_000
_MAX_SHOWN = 8


def _named(ranks: list[int]) -> str:
    shown = [str(rank) for rank in ranks[:_MAX_SHOWN]] + ["..."] * (len(ranks) > _MAX_SHOWN)
    return say("ranks {ranks}" if len(ranks) > 1 else "rank {ranks}", ranks=listed(shown))
