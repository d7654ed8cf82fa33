"""How well the data set's cache served, by its last statistics."""

from dataclasses import dataclass


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
