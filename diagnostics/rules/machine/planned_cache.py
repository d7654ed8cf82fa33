"""CF104: the cache is off, though memory has room; said before the run starts."""

from collections.abc import Iterator

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.memory_demand import Demand, SettingChange
from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Finding, Severity
from diagnostics.rules.machine.pattern import GIB, Pattern
from diagnostics.rules.machine.setting_advice import advise_to_set
from diagnostics.rules.thresholds import limits_of

LIMITS = limits_of("CF104")
_ROOM = LIMITS["room"]
CACHE_OFF = Pattern(
    code="CF104",
    name="cache-not-planned",
    summary="The cache in memory is off (DATA.USE_RAM_CACHE), although its {need_gib:.2f} GiB fit "
    "well into the {free_gib:.2f} GiB that are free{unknown}.",
    docs="""
## What it measures
DATA.USE_RAM_CACHE, beside the budget of the cache (or the decoded data set, if that is smaller)
and the memory that is free now.

## Why it matters
Without it every epoch reads and decodes every frame again. With it the second epoch does not.

## What to try
Switch it on. The budget is one for the machine, whatever the number of workers and ranks.

## False alarms
With a fast store (DATA.FAST_STORE) nothing is decoded any more, and this is not said. Nor is it
where samples were timed, a step's time is known, and the planned processes keep up without a cache:
no step waits then. Data on a fast local disk, of which the system keeps the files in memory anyway,
gains the decoding only.
""",
    limits=LIMITS,
)
_UNKNOWN = "; whether a step would wait for data without it is not known: {reason}"
_CACHE_ON = "Switch the cache on; its budget is {budget_gib:g} GiB (DATA.CACHE_SIZE_GB)."


def planned_cache_findings(demand: Demand, capacity: Capacity) -> Iterator[Finding]:
    """A cache that is off, though it fits, unless the steps are known to be fed without it."""
    free, loader = capacity.available_bytes, demand.loader
    need = min(loader.cache_gib * GIB, demand.data.decoded_train_bytes)
    is_decoded = demand.setting("DATA.FAST_STORE") is not None
    if loader.use_cache or is_decoded or free is None or need <= 0 or need > _ROOM.value * free:
        return
    plan = demand.loading_plan
    if plan is not None and plan.keeps_up(loader.workers_per_rank):
        return
    reason = None if plan is None else plan.reason
    unknown = "" if reason is None else say(_UNKNOWN, reason=reason)
    yield CACHE_OFF.finding(
        Severity.NOTE,
        {"need_gib": need / GIB, "free_gib": free / GIB, "unknown": unknown},
        [row("cache / free memory", need / free, "share", _ROOM, demand.config)],
        [
            advise_to_set(
                demand.config,
                SettingChange(key="DATA.USE_RAM_CACHE", current=False, proposed=True),
                say(_CACHE_ON, budget_gib=loader.cache_gib),
            )
        ],
    )
