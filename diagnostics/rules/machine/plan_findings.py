"""Everything the performance guide says to do or to avoid, held against a configuration."""

from collections.abc import Iterator

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.memory_demand import Demand
from diagnostics.rules.finding import Finding
from diagnostics.rules.machine.planned_cache import planned_cache_findings
from diagnostics.rules.machine.planned_cuts import planned_cut_findings
from diagnostics.rules.machine.planned_loading import planned_loading_findings
from diagnostics.rules.machine.planned_training import planned_training_findings
from diagnostics.rules.machine.planned_workers import planned_worker_findings


def plan_findings(demand: Demand, capacity: Capacity) -> Iterator[Finding]:
    """Before the run starts; the guide's limits on cache and workers are `guide_findings`."""
    yield from planned_training_findings(demand)
    yield from planned_cache_findings(demand, capacity)
    yield from planned_worker_findings(demand, capacity)
    yield from planned_cut_findings(demand)
    yield from planned_loading_findings(demand, capacity.cores)
