"""How steps follow each other: their drift over the run, the slow ones, and what tags cost.

Times are whole steps on the host's clock, the slowest rank's for each step, since the others wait
for it. A text log prints means over windows and has no rhythm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats, quantile
from diagnostics.analyses.robust_slope import theil_sen
from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import FACTS, TEXT_LOG_ONLY, Run

LEAST_STEPS = 20
"""Fewer steps have no rhythm to speak of."""

SLOW_RATIO, SLOW_MADS = 1.5, 5.0
"""A slow step takes so many times the median, and lies so many MADs above it."""

_MAD_TO_SIGMA = 1.4826
LEAST_REPEATS = 4
REGULAR_SHARE = 0.75
"""Of the gaps between slow steps, so many must be multiples of the commonest one."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Growth of a step from the first to the last measured one, as a share of the first.

    From the Theil-Sen line; `low` and `high` bound 95 % of it. Negative: steps became shorter.
    """

    share: float
    low_share: float
    high_share: float


@dataclass(frozen=True, kw_only=True)
class SlowSteps:
    """Ordinary steps far above the median.

    `cost_ms_per_step` is their time above the median, shared by all steps. `every_steps` is their
    period, None where they have none. `phase` is the phase that exceeds its own median most in
    them, by `phase_share` of the excess.
    """

    count: int
    cost_ms_per_step: float
    every_steps: int | None = None
    phase: str | None = None
    phase_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class TagCost:
    """Steps of one tag: how many, and their time above an ordinary step, shared by all steps."""

    count: int
    cost_ms_per_step: float
    last_step: int


@dataclass(frozen=True, kw_only=True)
class StepRhythm:
    """The rhythm of a run's ordinary steps, in ms; None: too few steps to tell."""

    num_steps: int = 0
    median_ms: float | None = None
    mean_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    drift: Drift | None = None
    slow: SlowSteps | None = None
    tags: Mapping[str, TagCost] = field(default_factory=dict)
    has_tags: bool = False
    """Whether its steps could carry tags at all; those of a trace cannot."""


def compute_step_rhythm(run: Run) -> StepRhythm:
    """The rhythm, from the tables `phases` and `steps`."""
    if run.evidence == TEXT_LOG_ONLY:
        return StepRhythm()
    every = _by_step(run.tables.phases)
    ordinary = _by_step(select_ordinary(run.tables.phases).rows)
    times = ordinary["step"].dropna() if "step" in ordinary else pd.Series(dtype="float64")
    if not len(times):
        return StepRhythm()
    ms = times.to_numpy("float64")
    known = StepRhythm(
        num_steps=len(ms),
        median_ms=quantile(ms, 0.5),
        mean_ms=float(ms.mean()),
        p95_ms=quantile(ms, 0.95),
        p99_ms=quantile(ms, 0.99),
        tags=_tags(run.tables.steps, every["step"], quantile(ms, 0.5)),
        has_tags=run.evidence == FACTS,
    )
    if len(ms) < LEAST_STEPS:
        return known
    return StepRhythm(
        **{
            **vars(known),
            "drift": _drift(times.index.to_numpy("float64"), ms),
            "slow": _slow(ordinary),
        }
    )


def _by_step(phases: pd.DataFrame) -> pd.DataFrame:
    """One row for each step, one column for each phase: the slowest rank's, by the host's clock."""
    host = phases[phases["clock"] == "host"]
    return host.pivot_table(
        index="step", columns="name", values="ms", aggfunc="max", observed=True
    ).sort_index()


def _drift(steps: Floats, ms: Floats) -> Drift | None:
    found = theil_sen(steps, ms)
    if found is None:
        return None
    length = float(steps[-1] - steps[0])
    # The line through the medians: slow steps do not lift its beginning.
    start_ms = quantile(ms, 0.5) - found.value * float(np.median(steps) - steps[0])
    if start_ms <= 0:
        return None
    bounds = (found.value, found.low, found.high)
    share, low, high = (slope * length / start_ms for slope in bounds)
    return Drift(share=share, low_share=low, high_share=high)


def _slow(ordinary: pd.DataFrame) -> SlowSteps:
    ms = ordinary["step"]
    median = float(ms.median())
    spread = _MAD_TO_SIGMA * float((ms - median).abs().median())
    slow = ordinary[(ms > SLOW_RATIO * median) & (ms > median + SLOW_MADS * spread)]
    excess_ms = float((slow["step"] - median).sum())
    phase, share = _phase_of(slow, ordinary, excess_ms)
    return SlowSteps(
        count=len(slow),
        cost_ms_per_step=excess_ms / len(ordinary),
        every_steps=_period(slow.index.to_numpy("int64")),
        phase=phase,
        phase_share=share,
    )


def _phase_of(
    slow: pd.DataFrame, ordinary: pd.DataFrame, excess_ms: float
) -> tuple[str | None, float | None]:
    names = [str(name) for name in ordinary.columns if name != "step"]
    if not len(slow) or not names or excess_ms <= 0:
        return None, None
    beyond = (slow[names] - ordinary[names].median()).sum()
    name = str(beyond.idxmax())
    return name, float(beyond[name]) / excess_ms


def _period(steps: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> int | None:
    """The commonest gap between slow steps, if nearly all gaps are multiples of it."""
    if len(steps) < LEAST_REPEATS:
        return None
    gaps, counts = np.unique(np.diff(steps), return_counts=True)
    period = int(gaps[counts.argmax()])
    regular = float(counts[gaps % period == 0].sum() / counts.sum())
    return period if period > 1 and regular >= REGULAR_SHARE else None


def _tags(steps: pd.DataFrame, ms: "pd.Series[float]", median_ms: float) -> dict[str, TagCost]:
    """A step with several tags counts for each of them."""
    tagged = steps.loc[steps["num_tagged"] > 0, ["step", "tags"]]
    named = tagged.assign(tag=tagged["tags"].astype("object").str.split(",")).explode("tag")
    found = {}
    for tag, rows in named.groupby("tag"):
        numbers = rows["step"].unique()
        beyond = (ms.reindex(numbers) - median_ms).clip(lower=0.0)
        found[str(tag)] = TagCost(
            count=len(numbers),
            cost_ms_per_step=float(beyond.sum()) / max(1, len(ms)),
            last_step=int(numbers.max()),
        )
    return found
