"""How well the data set's cache served, by its last statistics."""

import math
from dataclasses import dataclass

from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """The last statistics of the cache; None is not stated. `hit_share` is None without look-ups.

    `step` is the optimizer step of the statistics, where it is known.
    """

    step: float | None
    num_items: float | None
    used_bytes: float | None
    limit_bytes: float | None
    hits: float | None
    misses: float | None
    hit_share: float | None


def compute_cache_use(run: Run) -> CacheUse | None:
    """The last statistics with look-ups in them, else the last of all; None without any."""
    stats = run.tables.cache_stats
    if not len(stats):
        return None
    looked_up = stats[(stats["hits"] + stats["misses"]) > 0]
    last = (looked_up if len(looked_up) else stats).iloc[-1].to_dict()
    known = {str(name): None if math.isnan(value) else value for name, value in last.items()}
    hits, misses = known["hits"], known["misses"]
    total = None if hits is None or misses is None else hits + misses
    return CacheUse(
        step=known["step"],
        num_items=known["num_items"],
        used_bytes=known["used_bytes"],
        limit_bytes=known["limit_bytes"],
        hits=hits,
        misses=misses,
        hit_share=hits / total if hits is not None and total else None,
    )
