"""The phases that the lines of other trainers state, as rows of the table `phases`."""

from typing import Any

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.parsers.line_shapes import STEP
from diagnostics.parsers.log_formats.fields import PHASE, PHASES_PART, WAIT_INSIDE
from diagnostics.parsers.log_lines import MAX_MS
from diagnostics.parsers.log_tables import wide_rows, with_whole_steps
from diagnostics.parsers.scanned import Scanned
from diagnostics.run import Clock

BOTH = "forward+backward"
"""A whole whose parts some trainers name as well."""

MAX_LENGTH = 10**12


def phase_rows(
    found: Scanned, step_lines: pd.DataFrame, clock: Clock, windows: pd.DataFrame
) -> pd.DataFrame:
    """Phases on the step lines themselves, and on lines below them that name no step."""
    below = with_whole_steps(wide_rows(found, PHASES_PART))
    wide = pd.concat([_phases_of(step_lines), _phases_of(below)])
    if not len(wide) or len(wide.columns) < 2:
        return declared.PHASES.empty()
    wide = wide.groupby(STEP, as_index=False).last()
    wide = _without_wholes(wide[wide[STEP].isin(windows.index)])
    long = wide.melt(id_vars=STEP, var_name="name", value_name="ms")
    long = long[long["ms"].between(0, MAX_MS)].sort_values(STEP, kind="stable")
    window = windows.loc[long[STEP]]
    return declared.PHASES.from_columns(
        rank=np.zeros(len(long), dtype="int64"),
        step=long[STEP].to_numpy("int64"),
        name=pd.Categorical(long["name"]),
        clock=pd.Categorical([clock]).repeat(len(long)),
        ms=long["ms"].to_numpy("float64"),
        num_steps=window["num_steps"].to_numpy(),
        is_tagged=window["is_tagged"].to_numpy(),
    )


def _phases_of(rows: pd.DataFrame) -> pd.DataFrame:
    names = {name: str(name)[len(PHASE) :] for name in rows if str(name).startswith(PHASE)}
    return rows[[STEP, *names]].rename(columns=names)


def _without_wholes(wide: pd.DataFrame) -> pd.DataFrame:
    """A whole beside its parts goes; the batch that is made inside the forward is taken from it."""
    wide = wide.copy()
    if BOTH in wide and {"forward", "backward"} <= {*wide}:
        wide = wide.drop(columns=BOTH)
    whole = next((name for name in ("forward", BOTH) if name in wide), None)
    if WAIT_INSIDE in wide and whole is not None:
        wide[whole] = (wide[whole] - wide[WAIT_INSIDE].fillna(0.0)).clip(lower=0.0)
    return wide.rename(columns={WAIT_INSIDE: "data_wait"})


def run_phase(last_step: int, ms: float, name: str = "step") -> pd.DataFrame:
    """The step, or a phase of it, as the mean over the whole run tells it."""
    return declared.PHASES.from_rows(
        [(0, last_step, name, "host", ms, max(1, last_step), False)] if ms <= MAX_MS else []
    )


def with_stated_lengths(windows: pd.DataFrame, step_lines: pd.DataFrame) -> pd.DataFrame:
    """A line that says itself how many steps it is the mean of is taken at its word."""
    stated: Any = step_lines.get("num_steps")
    if stated is None or len(windows) != len(step_lines):
        return windows
    lengths = stated.clip(1, MAX_LENGTH).fillna(1.0).to_numpy().astype("int64")
    return windows.assign(num_steps=lengths, num_tagged=0, is_tagged=False, tags="")
