"""The wait for data in a run's first pass over its data, apart from the later epochs.

In the first pass every frame is read from where the data lies. What is kept of it, by the cache of
the trainer or by the kernel, answers the later ones: a wait that is over is none that will last.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import Clock, Run

LEAST_STEPS = 10
"""Later steps that say something about all that follow: fewer are not told apart."""

_WAIT, _STEP = "data_wait", "step"


@dataclass(frozen=True, kw_only=True)
class EpochWait:
    """Means over ordinary steps; `fetch_wait_ms` is the host's wait for one batch."""

    num_steps: int
    wait_ms: float
    step_ms: float
    fetch_wait_ms: float | None


@dataclass(frozen=True, kw_only=True)
class EpochWaits:
    """`first` ends with the first epoch that this run went through from its beginning to its end.

    `later` is None until enough steps have followed. `epochs_planned` counts those that the run
    was to go through, the part of one among them; None where its end is not known.
    """

    steps_per_epoch: float
    first: EpochWait
    later: EpochWait | None
    first_pass_steps: int
    steps_planned: int | None

    @property
    def epochs_planned(self) -> float | None:
        """Of this run."""
        return None if self.steps_planned is None else self.steps_planned / self.steps_per_epoch


def compute_epoch_waits(run: Run, clock: Clock | None) -> EpochWaits | None:
    """By the clock to judge by; None where the run did not say how long its epochs are."""
    sets, steps = run.tables.data_sets, run.tables.steps
    if not len(sets) or not len(steps) or clock is None:
        return None
    told = sets.sort_values("rank", kind="stable").iloc[0]
    per_epoch, per_step = told["micro_batches_per_epoch"], told["micro_batches_per_step"]
    if not per_epoch > 0 or not per_step > 0:
        return None
    done = told["first_micro_batch"] if told["first_micro_batch"] > 0 else 0.0
    # Frames of an epoch that another run began come up in the next one only.
    pass_micro_batches = per_epoch - done + (per_epoch if done else 0.0)
    first_step = int(steps["step"].min())
    pass_steps = -(-pass_micro_batches // per_step)
    parts = _parts(run, clock, first_step + pass_steps)
    if parts[0] is None:
        return None
    return EpochWaits(
        steps_per_epoch=float(per_epoch / per_step),
        first=parts[0],
        later=parts[1] if parts[1] is not None and parts[1].num_steps >= LEAST_STEPS else None,
        first_pass_steps=int(pass_steps),
        steps_planned=_planned(run, first_step),
    )


def _planned(run: Run, first_step: int) -> int | None:
    total = run.info.total_steps
    return None if total is None else max(1, int(total) - first_step + 1)


def _parts(run: Run, clock: Clock, begins: float) -> tuple[EpochWait | None, EpochWait | None]:
    """Before the step with which later epochs begin, and from there on."""
    phases = run.tables.phases
    judged = select_ordinary(phases[phases["clock"] == clock]).rows
    fetches = select_ordinary(run.tables.fetches).rows
    return (
        _mean(judged[judged["step"] < begins], fetches[fetches["step"] < begins]),
        _mean(judged[judged["step"] >= begins], fetches[fetches["step"] >= begins]),
    )


def _mean(phases: pd.DataFrame, fetches: pd.DataFrame) -> EpochWait | None:
    wait, step = phases[phases["name"] == _WAIT], phases[phases["name"] == _STEP]
    if not len(wait) or not len(step):
        return None
    return EpochWait(
        num_steps=int(step["step"].nunique()),
        wait_ms=float(wait["ms"].mean()),
        step_ms=float(step["ms"].mean()),
        fetch_wait_ms=_known_mean(fetches["wait_ms"]),
    )


def _known_mean(ms: "pd.Series[Any]") -> float | None:
    return float(ms.mean()) if len(ms) else None
