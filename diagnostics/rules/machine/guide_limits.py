"""CF101, CF102: a configuration beyond the limits that the performance guide sets a machine."""

from collections.abc import Iterator, Sequence

from diagnostics.analyses.memory_checks import CACHE_SHARE_RULE, CORES_RULE, Check
from diagnostics.analyses.memory_demand import Demand, SettingChange
from diagnostics.rules.finding import Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.machine.setting_advice import advise, verify_command

CACHE_TOO_LARGE = Pattern(
    "CF101",
    "cache-above-half-of-memory",
    "DATA.CACHE_SIZE_GB {value:g} is more than half of this machine's memory; the guide's limit is "
    "{high:.1f} GiB here.",
)
TOO_MANY_WORKERS = Pattern(
    "CF102",
    "more-workers-than-cores",
    "{value:.0f} loader processes share {high:.0f} cores: they wait for each other and each holds "
    "memory.",
)


def guide_findings(demand: Demand, checks: Sequence[Check]) -> Iterator[Finding]:
    """The two limits that the guide calls a don't; its other rules are advice."""
    for check in checks:
        high = check.bounds.high
        if check.status != "fail" or high is None:
            continue
        if check.bounds.rule == CACHE_SHARE_RULE:
            yield _finding(CACHE_TOO_LARGE, demand, check, _cache_change(demand, high))
        elif check.bounds.rule == CORES_RULE:
            yield _finding(TOO_MANY_WORKERS, demand, check, _worker_change(demand, high))


def _cache_change(demand: Demand, high_gib: float) -> SettingChange:
    return SettingChange(
        key="DATA.CACHE_SIZE_GB",
        current=demand.loader.cache_gib,
        proposed=int(high_gib * 2) / 2,
    )


def _worker_change(demand: Demand, cores: float) -> SettingChange:
    return SettingChange(
        key="DATALOADER.TOTAL_WORKERS",
        current=demand.loader.workers_setting,
        proposed=max(1, int(cores) // demand.ranks) * demand.ranks,
    )


def _finding(pattern: Pattern, demand: Demand, check: Check, change: SettingChange) -> Finding:
    high = check.bounds.high
    evidence = Evidence(
        metric=change.key,
        value=check.value,
        unit="count",
        limit=None if high is None else round(high, 1),
        source=demand.config,
    )
    advice = advise(change, verify_command(demand.config, [change]))
    values = {"value": check.value, "high": high}
    return pattern.finding(Severity.WARN, values, [evidence], [advice])
