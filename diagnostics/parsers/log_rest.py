"""What of a step lies in none of its timed phases, where both stand on one clock.

A trainer whose timers wait for the device has its steps by the device's pace, too: a step by the
log's own clock is then as long as its phases and whatever nobody timed, such as loading the data.
"""

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.language import say

STEP, OTHER = "step", "other"
UNTIMED = (
    "{family}: {share:.0%} of the step lies in none of its timers: loading of data, logging and "
    "checkpoints are there"
)
WORTH_SAYING = 0.1


def with_rest(whole: pd.DataFrame, parts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The whole steps on the clock of their parts, and the parts with the rest of each step.

    Unchanged where no whole step is known, or a rest is stated.

    Args:
        whole: Rows of the table `phases`, those of whole steps among them.
        parts: Its rows of the phases that are parts of a step, all by one clock.
    """
    is_step = (whole["name"] == STEP).to_numpy()
    if not is_step.any() or not len(parts) or (parts["name"] == OTHER).any():
        return whole, parts
    clock = parts["clock"].iloc[0]
    clocks = np.where(is_step, clock, whole["clock"].astype(object))
    on_clock = declared.PHASES.validate(whole.assign(clock=pd.Categorical(clocks)))
    steps = whole[is_step].sort_values(STEP, kind="stable")
    held = parts.groupby(STEP, as_index=False).agg(
        ms=("ms", "sum"), num_steps=("num_steps", "first"), is_tagged=("is_tagged", "first")
    )
    place = np.searchsorted(steps[STEP].to_numpy(), held[STEP].to_numpy())
    whole_ms = steps["ms"].to_numpy()[np.minimum(place, len(steps) - 1)]
    rest = declared.PHASES.from_columns(
        rank=np.zeros(len(held), dtype="int64"),
        step=held[STEP].to_numpy(),
        name=pd.Categorical([OTHER]).repeat(len(held)),
        clock=pd.Categorical([clock]).repeat(len(held)),
        ms=np.maximum(0.0, whole_ms - held["ms"].to_numpy()),
        num_steps=held["num_steps"].to_numpy(),
        is_tagged=held["is_tagged"].to_numpy(),
    )
    return on_clock, declared.PHASES.concat([parts, rest])


def describe_rest(family: str, phases: pd.DataFrame) -> tuple[str, ...]:
    """A sentence where much of the step is untimed."""
    whole, rest = (phases[phases["name"] == name] for name in (STEP, OTHER))
    step_ms, rest_ms = _mean_ms(whole), _mean_ms(rest)
    share = rest_ms / step_ms if step_ms else 0.0
    return (say(UNTIMED, family=family, share=share),) if share >= WORTH_SAYING else ()


def _mean_ms(rows: pd.DataFrame) -> float:
    """Of the steps that the rows stand for; 0 without any."""
    counts = rows["num_steps"].to_numpy("float64")
    return float(np.average(rows["ms"], weights=counts)) if counts.sum() > 0 else 0.0
