"""HM104, HM105, GM101, CF101, CF102: a configuration against a machine, before the run starts."""

from collections.abc import Iterator, Sequence

from diagnostics.analyses.memory_checks import CACHE_SHARE_RULE, CORES_RULE, Check
from diagnostics.analyses.memory_demand import SettingChange
from diagnostics.analyses.memory_forecast import TIGHT_SHARE, Forecast, ResourceForecast
from diagnostics.rules.finding import Advice, ConfigChange, Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import GIB, Pattern

_NEED = (
    "{config} needs {need_gib:.2f} GiB of {resource}; with what is in use that is {share:.0%} of "
    "{limit_gib:.2f} GiB: {verdict}."
)
PATTERNS = {
    "host memory": Pattern("HM104", "forecast-exceeds-host-memory", _NEED),
    "shared memory": Pattern("HM105", "forecast-exceeds-shared-memory", _NEED),
    "GPU memory": Pattern("GM101", "forecast-exceeds-gpu-memory", _NEED),
}
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

_WHY = {
    "DATA.CACHE_SIZE_GB": "Lower the cache to what is left for it.",
    "DATA.USE_RAM_CACHE": "Do without the cache: the system keeps files in memory by itself.",
    "DATALOADER.TOTAL_WORKERS": "Use fewer loader processes: each holds batches in the making.",
    "DATALOADER.TRAIN_PREFETCH_FACTOR": "Prefetch fewer batches for each loader process.",
    "TRAIN.AMP_ENABLED": "Use mixed precision: activations take about half.",
    "MODEL.ATTENTION": "Use the fused attention kernel: it keeps no attention weights.",
    "MODEL.VRT.USE_CHECKPOINT_ATTN": "Recompute attention in the backward pass, at more time.",
    "MODEL.VRT.USE_CHECKPOINT_FFN": "Recompute the MLPs in the backward pass, at more time.",
    "TRAIN.BATCH_SIZE": "Use smaller micro-batches,",
    "TRAIN.GRADIENT_ACCUMULATION_STEPS": "and more of them, so that a step sees as many clips.",
    "DATA.VAL_CROP_SIZE": "Validate on crops instead of whole frames.",
    "DATA.CROP_SIZE": "Train on smaller crops.",
}


def forecast_findings(forecast: Forecast, checks: Sequence[Check]) -> Iterator[Finding]:
    """What does not fit, or hardly, and which documented limits are passed."""
    for resource in forecast.resources:
        if resource.verdict in ("tight", "does not fit"):
            yield _resource_finding(forecast, resource)
    for check in checks:
        if check.status == "fail" and check.bounds.high is not None:
            yield from _guide_finding(forecast, check, check.bounds.high)


def _resource_finding(forecast: Forecast, resource: ResourceForecast) -> Finding:
    exceeds = resource.verdict == "does not fit"
    limit, need = resource.limit_bytes or 0, resource.need_bytes
    return PATTERNS[resource.resource].finding(
        Severity.CRITICAL if exceeds else Severity.WARN,
        {
            "config": forecast.demand.config,
            "resource": resource.resource,
            "need_gib": need / GIB,
            "limit_gib": limit / GIB,
            "share": resource.share,
            "verdict": "it does not fit" if exceeds else "it is tight",
        },
        _evidence(resource),
        _advice(forecast, resource),
        cost_bytes=need,
    )


def _evidence(resource: ResourceForecast) -> list[Evidence]:
    largest = sorted(resource.parts, key=lambda part: -part.size_bytes)[:3]
    return [
        Evidence(
            metric=f"{resource.resource} with this run",
            value=resource.share,
            unit="share",
            limit=TIGHT_SHARE,
            source="forecast",
        ),
        Evidence(metric="used by others", value=resource.used_by_others_bytes, unit="bytes"),
        *(
            Evidence(metric=part.name, value=part.size_bytes, unit="bytes", source=part.basis)
            for part in largest
        ),
    ]


def _advice(forecast: Forecast, resource: ResourceForecast) -> list[Advice]:
    advice = []
    if resource.resource == "shared memory":
        need_gib = -(-resource.need_bytes // GIB) + 1
        text = f"In a container, `docker run --shm-size={need_gib}g` or `--ipc=host` is the cure."
        advice.append(Advice(text=text))
    verify = _verify(forecast.demand.config, resource.changes)
    advice += [_advise(change, verify) for change in resource.changes]
    if resource.after_bytes is not None:
        advice.append(Advice(text=_outcome(resource, resource.after_bytes), verify=verify))
    elif not resource.is_solved:
        advice.append(Advice(text="No switch lowers it: this machine is too small for it."))
    return advice


def _advise(change: SettingChange, verify: str) -> Advice:
    switch = ConfigChange(key=change.key, current=change.current, proposed=change.proposed)
    return Advice(text=_WHY[change.key], config_change=switch, verify=verify)


def _outcome(resource: ResourceForecast, after_bytes: int) -> str:
    others = resource.used_by_others_bytes or 0
    share = (others + after_bytes) / max(1, resource.limit_bytes or 1)
    need = f"it needs {after_bytes / GIB:.2f} GiB ({share:.0%} with what is in use)"
    if resource.is_solved:
        return f"Then {need} and fits."
    if share <= 1.0:
        return f"Then {need}: it fits, but no more than that can be done here."
    return f"Even then {need}: this machine is too small for it."


def _verify(config: str, changes: Sequence[SettingChange]) -> str:
    settings = " ".join(f"{change.key}={_spelled(change.proposed)}" for change in changes)
    return f"python diagnose_memory.py --config {config} {settings}".rstrip()


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _guide_finding(forecast: Forecast, check: Check, high: float) -> Iterator[Finding]:
    loader, config = forecast.demand.loader, forecast.demand.config
    if check.bounds.rule == CACHE_SHARE_RULE:
        proposed: float | int = int(high * 2) / 2
        change = SettingChange(
            key="DATA.CACHE_SIZE_GB", current=loader.cache_gib, proposed=proposed
        )
        pattern, metric = CACHE_TOO_LARGE, "DATA.CACHE_SIZE_GB"
    elif check.bounds.rule == CORES_RULE:
        ranks = forecast.demand.ranks
        proposed = max(1, int(high) // ranks) * ranks
        change = SettingChange(
            key="DATALOADER.TOTAL_WORKERS", current=loader.workers_setting, proposed=proposed
        )
        pattern, metric = TOO_MANY_WORKERS, "loader processes"
    else:
        return
    yield pattern.finding(
        Severity.WARN,
        {"value": check.value, "high": high},
        [
            Evidence(
                metric=metric, value=check.value, unit="count", limit=round(high, 1), source=config
            )
        ],
        [_advise(change, _verify(config, [change]))],
    )
