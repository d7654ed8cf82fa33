"""All analyses of one run, in one value: what rules and reports read."""

from dataclasses import dataclass

from diagnostics.analyses.cache_use import CacheUse
from diagnostics.analyses.memory_course import MemoryCourse
from diagnostics.analyses.quality import Quality
from diagnostics.analyses.ranking import Ranking
from diagnostics.analyses.resources import Resources
from diagnostics.analyses.step_breakdown import StepBreakdown
from diagnostics.analyses.throughput import Throughput


@dataclass(frozen=True, kw_only=True)
class RunAnalysis:
    """What the analyses found. `cache` is None when no statistics of a cache were left."""

    breakdown: StepBreakdown
    ranking: Ranking
    throughput: Throughput
    memory: tuple[MemoryCourse, ...]
    resources: Resources
    quality: Quality
    cache: CacheUse | None
