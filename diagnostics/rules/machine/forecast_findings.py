"""HM104, HM105, GM101: a run that a machine's memory cannot hold, said before it starts."""

from collections.abc import Iterator

from diagnostics.analyses.memory_forecast import TIGHT_SHARE, Forecast, ResourceForecast
from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.forecast_patterns import FORECAST_PATTERNS
from diagnostics.rules.machine.pattern import GIB
from diagnostics.rules.machine.setting_advice import advise, verify_command


def forecast_findings(forecast: Forecast) -> Iterator[Finding]:
    """What does not fit, or hardly, with the switches that make it fit."""
    for resource in forecast.resources:
        if resource.verdict in ("tight", "does not fit"):
            yield _resource_finding(forecast, resource)


def _resource_finding(forecast: Forecast, resource: ResourceForecast) -> Finding:
    exceeds = resource.verdict == "does not fit"
    limit, need = resource.limit_bytes or 0, resource.need_bytes
    return FORECAST_PATTERNS[resource.resource].finding(
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
            metric=say("{resource} with this run", resource=resource.resource),
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
        text = say(
            "In a container, `docker run --shm-size={need_gib}g` or `--ipc=host` is the cure.",
            need_gib=need_gib,
        )
        advice.append(Advice(text=text))
    verify = verify_command(forecast.demand.config, resource.changes)
    advice += [advise(change, verify) for change in resource.changes]
    if resource.after_bytes is not None:
        advice.append(Advice(text=_outcome(resource, resource.after_bytes), verify=verify))
    elif not resource.is_solved:
        advice.append(Advice(text="No switch lowers it: this machine is too small for it."))
    return advice


def _outcome(resource: ResourceForecast, after_bytes: int) -> str:
    others = resource.used_by_others_bytes or 0
    share = (others + after_bytes) / max(1, resource.limit_bytes or 1)
    need = say(
        "it needs {after_bytes:.2f} GiB ({share:.0%} with what is in use)",
        after_bytes=after_bytes / GIB,
        share=share,
    )
    if resource.is_solved:
        return say("Then {need} and fits.", need=need)
    if share <= 1.0:
        return say("Then {need}: it fits, but no more than that can be done here.", need=need)
    return say("Even then {need}: this machine is too small for it.", need=need)
