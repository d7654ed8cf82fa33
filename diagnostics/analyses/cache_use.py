"""How well the data set's cache served, by its last statistics."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diagnostics.run import Run

_SUMMED = ("num_items", "used_bytes", "limit_bytes", "hits", "misses")


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """The last statistics of all ranks' caches together; None is not stated.

    `hit_share` is None without look-ups. `step` is the last step of the statistics, where known.
    """

    step: float | None
    num_items: float | None
    used_bytes: float | None
    limit_bytes: float | None
    hits: float | None
    misses: float | None
    hit_share: float | None


def compute_cache_use(run: Run) -> CacheUse | None:
    """The last statistics of each rank with look-ups in them, else its last; summed over ranks."""
    stats = run.tables.cache_stats
    if not len(stats):
        return None
    ranks = [_last_of_rank(rows) for _, rows in stats.groupby("rank", sort=True)]
    summed = pd.DataFrame(ranks)[list(_SUMMED)].sum(min_count=1)
    known = {name: _known(value) for name, value in summed.items()}
    hits, misses = known["hits"], known["misses"]
    total = None if hits is None or misses is None else hits + misses
    return CacheUse(
        step=_known(max((rank["step"] for rank in ranks), default=math.nan)),
        num_items=known["num_items"],
        used_bytes=known["used_bytes"],
        limit_bytes=known["limit_bytes"],
        hits=hits,
        misses=misses,
        hit_share=hits / total if hits is not None and total else None,
    )


def _last_of_rank(stats: pd.DataFrame) -> "pd.Series[Any]":
    looked_up = stats[(stats["hits"] + stats["misses"]) > 0]
    return (looked_up if len(looked_up) else stats).iloc[-1]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
