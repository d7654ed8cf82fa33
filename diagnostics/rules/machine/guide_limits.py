"""CF101, CF102: a configuration beyond the limits that the performance guide sets a machine."""

from collections.abc import Iterator, Sequence

from diagnostics.analyses.memory_checks import (
    CACHE_SHARE_RULE,
    CORES_RULE,
    Check,
)
from diagnostics.analyses.memory_demand import Demand, SettingChange
from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.machine.setting_advice import advise, verify_command
from diagnostics.rules.thresholds import limits_of

_CACHE = "DATA.CACHE_SIZE_GB"
_WORKERS = "DATALOADER.TOTAL_WORKERS"
CACHE_TOO_LARGE = Pattern(
    code="CF101",
    name="cache-above-half-of-memory",
    summary="DATA.CACHE_SIZE_GB {value:g} is more than half of this machine's memory; the guide's "
    "limit is {high:.1f} GiB here.",
    docs="""
## What it measures
DATA.CACHE_SIZE_GB, one budget for the machine, against its memory or its container's limit.

## Why it matters
Model, batches in the making and the system's own file cache need the other half; a cache that
grows beyond it ends in a killed process hours later.

## What to try
A budget of at most half of the memory. What the frames of the data set need is in the forecast of
`python diagnose_memory.py --config FILE`.

## False alarms
A data set smaller than the budget never fills it. Without DATA.USE_RAM_CACHE nothing is checked.
""",
    limits=limits_of("CF101"),
)
TOO_MANY_WORKERS = Pattern(
    code="CF102",
    name="more-workers-than-cores",
    summary="{value:.0f} loader processes share {high:.0f} cores: they wait for each other and "
    "each holds memory.",
    docs="""
## What it measures
Loader processes of all ranks together, against the cores that this process may use: its affinity,
or less where a container's quota allows less.

## Why it matters
Decoding is work for the processor. More processes than cores bring no batch sooner, and each
holds its own batches and its part of the cache.

## What to try
DATALOADER.TOTAL_WORKERS at most the number of cores, or `auto`: as many as keep up with the steps,
as far as the cores reach. It gives each training process one at least, so where those alone are as
many as the cores, only fewer of them help.

## False alarms
Where processes wait for a slow disk or network and not for the processor, some more can help.
""",
    limits=limits_of("CF102"),
)


def guide_findings(demand: Demand, checks: Sequence[Check]) -> Iterator[Finding]:
    """The two limits that the guide calls a don't; its other rules are advice."""
    for check in checks:
        high = check.bounds.high
        if check.status != "fail" or high is None:
            continue
        if check.bounds.rule == CACHE_SHARE_RULE:
            advice = _cache_advice(demand, high)
            yield _finding(CACHE_TOO_LARGE, demand, check, _CACHE, advice)
        elif check.bounds.rule == CORES_RULE:
            advice = _worker_advice(demand, high)
            yield _finding(TOO_MANY_WORKERS, demand, check, _WORKERS, advice)


def _cache_advice(demand: Demand, high_gib: float) -> Advice:
    change = SettingChange(
        key=_CACHE,
        current=demand.loader.cache_gib,
        proposed=int(high_gib * 2) / 2,
    )
    return advise(change, verify_command(demand.config, [change]))


def _worker_advice(demand: Demand, cores: float) -> Advice:
    per_rank = int(cores) // demand.ranks
    if per_rank == 0:  # one for each is the least, and more than there are cores
        return Advice(
            text=say(
                "Start fewer training processes on this machine: {ranks} of them, each with a "
                "loader process, are more than its {cores} core(s).",
                ranks=demand.ranks,
                cores=int(cores),
            )
        )
    change = SettingChange(
        key=_WORKERS,
        current=demand.loader.workers_setting,
        proposed=per_rank * demand.ranks,
    )
    return advise(change, verify_command(demand.config, [change]))


def _finding(
    pattern: Pattern, demand: Demand, check: Check, metric: str, advice: Advice
) -> Finding:
    high = check.bounds.high
    evidence = Evidence(
        metric=metric,
        value=check.value,
        unit="count",
        limit=None if high is None else round(high, 1),
        source=demand.config,
    )
    values = {"value": check.value, "high": high}
    return pattern.finding(Severity.WARN, values, [evidence], [advice])
