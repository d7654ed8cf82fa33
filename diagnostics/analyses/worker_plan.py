"""How a run came to its number of loading processes, by what it said before the first step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """The choice of the lowest rank; all ranks choose alike. None is not known.

    `part_ms` sums to `sample_ms`. `worker_rule` is the choice in the trainer's own words, `reason`
    why it did not know how many processes are needed.
    """

    per_rank: float | None
    needed_per_rank: float | None
    guide_per_rank: float | None
    limit_per_rank: float | None
    samples_timed: float | None
    samples_per_step: float | None
    sample_ms: float | None
    sample_cpu_ms: float | None
    slowest_sample_ms: float | None
    timing_ms: float | None
    step_ms: float | None
    worker_rule: str | None
    reason: str | None
    part_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """The parts of a sample, the longest first."""
        return tuple(sorted(self.part_ms.items(), key=lambda part: -part[1]))


def compute_worker_plan(run: Run) -> WorkerPlan | None:
    """None where the run did not say."""
    plans = run.tables.worker_plans
    if not len(plans):
        return None
    row = plans.sort_values("rank", kind="stable").iloc[0].to_dict()
    row.pop("rank")
    return WorkerPlan(**{str(name): _known(value) for name, value in row.items()})


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
