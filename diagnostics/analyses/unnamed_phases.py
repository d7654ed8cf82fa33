"""Phases that another's loop never opened: their 0 is no measurement."""

import pandas as pd

from diagnostics.run import Run

ALWAYS_MEASURED = ("step", "other", "data_wait")
"""Whatever a loop names: the whole, the rest, and what the wrapped loader tells."""


def without_unnamed_phases(run: Run) -> pd.DataFrame:
    """The table `phases`; of another's loop without those that took no time in any step."""
    phases = run.tables.phases
    if run.info.trainer != "own" or not len(phases):
        return phases
    longest = phases.groupby("name", observed=True)["ms"].max()
    unnamed = {name for name, ms in longest.items() if ms <= 0 and name not in ALWAYS_MEASURED}
    return phases[~phases["name"].isin(unnamed)]
