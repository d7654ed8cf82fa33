"""What loading has to keep up with before a run starts: the trainer's own figures, as facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SamplePrice:
    """The price of a training sample, from `samples` that were timed.

    `part_ms` sums to `made_ms`, of which nothing came from a cache; `cached_ms` is what is left
    where all of it does. `cpu_ms` is the work on a core, `spent_ms` what the timing took.
    """

    samples: int
    made_ms: float
    cpu_ms: float
    slowest_ms: float
    cached_ms: float
    spent_ms: float
    part_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """The parts, the longest first."""
        return tuple(sorted(self.part_ms.items(), key=lambda part: -part[1]))


@dataclass(frozen=True, kw_only=True)
class LoadingPlan:
    """Loading processes of one rank: what they must keep up with, and how many that takes.

    `step_ms` is a step without its wait for data, from `step_source`; `fed_ms` the shortest step
    that the configured processes keep up with. Where samples or steps have no price, what follows
    from it is None and `reason` says why.
    """

    sample: SamplePrice | None
    step_ms: float | None
    step_source: str | None
    samples_per_step: int
    workers_needed_per_rank: int | None
    workers_limit_per_rank: int
    guide_workers_per_rank: int
    prefetch_needed: int | None
    fed_ms: float | None
    threads_per_worker: int
    reason: str | None

    def keeps_up(self, workers_per_rank: int) -> bool | None:
        """Whether so many processes feed every step without a cache; None is not known."""
        needed = self.workers_needed_per_rank
        return None if needed is None else 0 < needed <= workers_per_rank
