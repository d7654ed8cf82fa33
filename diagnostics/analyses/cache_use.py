"""How well the data set's cache served, by its last statistics."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diagnostics.run import Run

GIB = 1 << 30
_SUMMED = (
    "num_items",
    "used_bytes",
    "limit_bytes",
    "hits",
    "misses",
    "evicted",
    "refused",
    "no_room",
)


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """The last statistics of all `num_caches` caches together; None is not stated.

    Ranks of a machine may share a cache: it counts once. `hit_share` is None without look-ups.
    `step` is the last step of the statistics, where known. `machine_used_bytes` of
    `machine_limit_bytes` are those of the machine whose caches hold most: budgets are a machine's.
    """

    step: float | None
    num_caches: int
    num_items: float | None
    used_bytes: float | None
    limit_bytes: float | None
    machine_used_bytes: float | None
    machine_limit_bytes: float | None
    hits: float | None
    misses: float | None
    evicted: float | None
    refused: float | None
    no_room: float | None
    hit_share: float | None


def compute_cache_use(run: Run) -> CacheUse | None:
    """The newest statistics of each cache with look-ups in them, else its last; summed."""
    stats = run.tables.cache_stats
    if not len(stats):
        return None
    ranks = [_last_of_rank(rows) for _, rows in stats.groupby("rank", sort=True)]
    sharing = _Sharing(run)
    caches = pd.DataFrame(_newest_of_each(ranks, sharing))
    known = _sums(caches)
    hosts = [sharing.host_of(int(rank)) for rank in caches["rank"]]
    machines = [_sums(rows) for _, rows in caches.groupby(hosts, sort=False)]
    fullest = max(machines, key=lambda sums: sums["used_bytes"] or 0.0)
    hits, misses = known["hits"], known["misses"]
    total = None if hits is None or misses is None else hits + misses
    return CacheUse(
        step=_known(max((rank["step"] for rank in ranks), default=math.nan)),
        num_caches=len(caches),
        num_items=known["num_items"],
        used_bytes=known["used_bytes"],
        limit_bytes=known["limit_bytes"],
        machine_used_bytes=fullest["used_bytes"],
        machine_limit_bytes=fullest["limit_bytes"],
        hits=hits,
        misses=misses,
        evicted=known["evicted"],
        refused=known["refused"],
        no_room=known["no_room"],
        hit_share=hits / total if hits is not None and total else None,
    )


class _Sharing:
    """Whose statistics are of the same cache."""

    def __init__(self, run: Run) -> None:
        places = run.tables.rank_places
        self._hosts = dict(zip(places["rank"], places["host"], strict=True))
        self._budget_bytes = _budget_bytes(run.info.config)

    def cache_of(self, row: "pd.Series[Any]") -> Hashable:
        """By the rank that it names.

        Facts without one: a rank that may fill the whole budget of its machine shares it with the
        others there; any other has a cache of its own.
        """
        rank = int(row["rank"])
        if not math.isnan(row["first_rank"]):
            return "shared", row["first_rank"]
        if self._budget_bytes is not None and row["limit_bytes"] == self._budget_bytes:
            return "machine", self.host_of(rank)
        return "rank", rank

    def host_of(self, rank: int) -> str:
        """Where a rank ran; where none says so, all ran on one machine."""
        host = self._hosts.get(rank)
        return host if isinstance(host, str) else ""


def _newest_of_each(ranks: Sequence["pd.Series[Any]"], sharing: _Sharing) -> list["pd.Series[Any]"]:
    """Counts only rise, so that of one cache those of the most look-ups are the newest."""
    newest: dict[Hashable, pd.Series[Any]] = {}
    for row in ranks:
        cache = sharing.cache_of(row)
        if cache not in newest or _look_ups(row) > _look_ups(newest[cache]):
            newest[cache] = row
    return list(newest.values())


def _sums(caches: pd.DataFrame) -> dict[str, float | None]:
    return {name: _known(caches[name].sum(min_count=1)) for name in _SUMMED}


def _look_ups(row: "pd.Series[Any]") -> float:
    total = float(row["hits"] + row["misses"])
    return -1.0 if math.isnan(total) else total


def _budget_bytes(config: Mapping[str, Any]) -> int | None:
    """A machine's budget, rounded as the trainer does."""
    data = config.get("DATA")
    size_gib = data.get("CACHE_SIZE_GB") if isinstance(data, Mapping) else None
    if isinstance(size_gib, bool) or not isinstance(size_gib, int | float):
        return None
    size_bytes = size_gib * GIB
    return int(size_bytes) if math.isfinite(size_bytes) else None


def _last_of_rank(stats: pd.DataFrame) -> "pd.Series[Any]":
    looked_up = stats[(stats["hits"] + stats["misses"]) > 0]
    return (looked_up if len(looked_up) else stats).iloc[-1]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
