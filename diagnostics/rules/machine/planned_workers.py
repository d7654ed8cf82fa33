"""CF105, CF106: loader processes that are few, or end with every epoch; before the run starts."""

from collections.abc import Iterator

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.memory_checks import MIN_PER_GPU
from diagnostics.analyses.memory_demand import Demand, SettingChange
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Finding, Severity
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.machine.setting_advice import advise_to_set
from diagnostics.rules.thresholds import limits_of

FEW_WORKERS = Pattern(
    code="CF105",
    name="workers-below-guide",
    summary="{workers} loader process(es) (is|are) planned for {ranks} rank(s), though {cores} "
    "cores are there: fewer than the {least} that the guide begins with.",
    docs="""
## What it measures
DATALOADER.TOTAL_WORKERS as it comes out on this machine, against four for each rank or half the
cores, whichever is less.

## Why it matters
A rank whose loader is too small waits for data in every step. Without any loader process, loading
and computing take turns.

## What to try
DATALOADER.TOTAL_WORKERS: auto, which follows the cores of the machine.

## False alarms
Small crops with a warm cache need fewer. Where samples were timed and a step's time is known, what
they show counts instead. A run shows what its steps really wait for (rule DL001).
""",
    limits=limits_of("CF105"),
)
NOT_PERSISTENT = Pattern(
    code="CF106",
    name="workers-not-persistent",
    summary="{workers} loader process(es) (is|are) planned to end with every epoch of {samples} "
    "samples (DATALOADER.PERSISTENT_WORKERS).",
    docs="""
## What it measures
DATALOADER.PERSISTENT_WORKERS, where there are loader processes.

## Why it matters
Each epoch then begins with starting them: seconds in which the GPU waits, and whatever they had
opened or kept is lost.

## What to try
Switch it on. Memory that grows in a worker shows as growth (rule HM002) and is better repaired.

## False alarms
With very long epochs a restart costs nothing worth a switch, and frees what workers collected.
""",
    limits=limits_of("CF106"),
)
_AUTO = "Let the number follow the machine's cores."
_PERSIST = "Keep the loader processes between epochs."


def planned_worker_findings(demand: Demand, capacity: Capacity) -> Iterator[Finding]:
    """What the guide says to do about loader processes, where the configuration does not."""
    yield from _workers(demand, capacity)
    yield from _persistence(demand)


def _workers(demand: Demand, capacity: Capacity) -> Iterator[Finding]:
    workers, cores = demand.ranks * demand.loader.workers_per_rank, capacity.cores
    setting = demand.loader.workers_setting
    if cores is None or setting == "auto" or _keeps_up(demand):
        return
    least = min(MIN_PER_GPU * demand.ranks, cores // 2)
    if workers >= least:
        return
    yield FEW_WORKERS.finding(
        Severity.WARN if not workers and demand.device == "cuda" else Severity.NOTE,
        {"workers": workers, "ranks": demand.ranks, "cores": cores, "least": least},
        [row("loader processes", workers, "count", least, demand.config)],
        [
            advise_to_set(
                demand.config,
                SettingChange(key="DATALOADER.TOTAL_WORKERS", current=setting, proposed="auto"),
                _AUTO,
            )
        ],
    )


def _keeps_up(demand: Demand) -> bool:
    """Whether samples that were timed show that the planned processes suffice."""
    plan = demand.loading_plan
    return plan is not None and plan.keeps_up(demand.loader.workers_per_rank) is True


def _persistence(demand: Demand) -> Iterator[Finding]:
    workers = demand.ranks * demand.loader.workers_per_rank
    if demand.setting("DATALOADER.PERSISTENT_WORKERS") is not False or not workers:
        return
    change = SettingChange(key="DATALOADER.PERSISTENT_WORKERS", current=False, proposed=True)
    yield NOT_PERSISTENT.finding(
        Severity.NOTE,
        {"workers": workers, "samples": demand.data.train_samples},
        [row("loader processes", workers, "count", 1, demand.config)],
        [advise_to_set(demand.config, change, _PERSIST)],
    )
