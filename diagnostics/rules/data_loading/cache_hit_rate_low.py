"""DL002: most reads miss the cache."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.data_loading.cache_advice import cache_advice
from diagnostics.rules.finding import Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Rule, Threshold


class CacheHitRateLow(Rule):
    """The share of reads that the cache in memory answers."""

    code = "DL002"
    name = "cache-hit-rate-low"
    for_our_trainer = True
    summary = (
        "The cache answers {hit_rate:.1%} of {num_reads} reads; the rest goes to the disk and is "
        "decoded again."
    )
    docs = """
## What it measures
Hits of the data set's cache, divided by all its look-ups.

## Why it matters
A cache that is seldom hit costs memory and saves little time. The finding is a warning only where
the step really waits for data.

## What to try
A larger budget, if the cache is full and memory has room (at most half of the physical memory);
sampling that returns to the same clips sooner (DATA.SAMPLE_ORDER: grouped). Where the system had no
room for the cache, a budget that fits: a cache that cannot write keeps what it has.

## False alarms
The first pass over the data misses every time: a run shorter than two epochs has a low hit rate
by nature. A cache that is not full is not too small.
"""
    at_warn: ClassVar[Threshold]
    goal: ClassVar[Threshold]
    least_reads: ClassVar[Threshold]
    data_share: ClassVar[Threshold]
    most_of_memory: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the hit rate with the guide's limit and goal."""
        rate, reads = measured.cache_hit_rate, measured.cache_num_reads
        if rate is None or reads is None:
            if measured.setting("DATA.USE_RAM_CACHE") is False:
                return self.not_evaluated("the cache is switched off (DATA.USE_RAM_CACHE)")
            return self.not_evaluated(
                "no cache statistics were recorded", "train with DATA.USE_RAM_CACHE: true"
            )
        no_room = measured.cache_no_room or 0
        if reads < self.least_reads.value and not no_room:
            return self.not_evaluated(
                say("only {reads} read(s) (was|were) counted", reads=reads),
                "train for at least two epochs",
            )
        if rate >= self.goal.value:
            return None
        wait_share = measured.phase_share("data_wait")
        waits = wait_share is None or wait_share >= self.data_share.value
        low = rate < self.at_warn.value
        source = measured.source("cache_hit_rate")
        return self.finding(
            Severity.WARN if low and waits else Severity.NOTE,
            {"hit_rate": rate, "num_reads": reads},
            (
                Evidence(
                    metric="cache hit rate",
                    value=rate,
                    unit="share",
                    limit=self.at_warn.value if low else self.goal.value,
                    source=source,
                ),
                Evidence(
                    metric="cache in use",
                    value=measured.cache_used_bytes,
                    unit="bytes",
                    limit=measured.cache_limit_bytes,
                    source=source,
                ),
                *self._without_room(no_room, source),
            ),
            cache_advice(measured, self.most_of_memory.value),
        )

    def _without_room(self, count: int, source: str | None) -> tuple[Evidence, ...]:
        if not count:
            return ()
        metric = "items that the system had no room for"
        return (Evidence(metric=metric, value=count, unit="count", source=source),)
