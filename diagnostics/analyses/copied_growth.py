"""Growth by copying: loading processes touch what they were forked with, and get their own pages.

Their resident memory stays as it was, since shared pages count in it, too; the memory of the whole
tree, each page counted once, grows. Pure.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import GrowthTrend, growth_trend

_LEAST_SHARE = 0.5
"""Of the tree's growth: so much must be pages that loading processes have to themselves."""


@dataclass(frozen=True, kw_only=True)
class CopiedGrowth:
    """The growth of the whole tree, of which loading processes hold most."""

    trend: GrowthTrend
    num_processes: int


def find_copied_growth(placed: pd.DataFrame, least_rise_bytes: float) -> CopiedGrowth | None:
    """The growth, if there is one.

    Args:
        placed: Rows of `processes` of one machine with their `at_step`; PSS is read seldom, and of
            all processes together.
        least_rise_bytes: A smaller rise does not count.
    """
    swept = placed.dropna(subset=["at_step", "pss_bytes", "uss_bytes"])
    workers = swept[swept["role"] == "worker"]
    if not len(workers):
        return None
    steps, tree = _sums(swept, "pss_bytes")
    trend = growth_trend(steps, tree)
    if trend is None or not trend.grows or trend.rise < least_rise_bytes:
        return None
    count = workers.groupby("at_step")["pid"].nunique()
    usual = int(count.median())
    whole = workers[workers["at_step"].isin(count.index[count == usual])]
    own = growth_trend(*_sums(whole, "uss_bytes"))
    if own is None or not own.grows or own.slope < _LEAST_SHARE * trend.slope:
        return None
    return CopiedGrowth(trend=trend, num_processes=usual)


def _sums(rows: pd.DataFrame, column: str) -> tuple[Floats, Floats]:
    total = rows.groupby("at_step")[column].sum()
    return np.asarray(total.index, dtype="float64"), total.to_numpy(dtype="float64")
