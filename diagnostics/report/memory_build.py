"""From what was read to the memory report: analyses, findings and verdict put together. Pure."""

from collections.abc import Mapping, Sequence

from diagnostics.analyses.memory_checks import Bounds, check_rules, guide_bounds
from diagnostics.analyses.memory_demand import Demand
from diagnostics.analyses.memory_forecast import Forecast, forecast
from diagnostics.analyses.watch_course import WatchView
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.assumed_words import assumed_in_short
from diagnostics.report.memory_model import (
    ForecastView,
    MachineView,
    MemoryReport,
    RunView,
    SnapshotView,
)
from diagnostics.report.model import Report
from diagnostics.rules.contradictions import without_contradictions
from diagnostics.rules.evaluate import rank
from diagnostics.rules.finding import Finding, Severity
from diagnostics.rules.machine.forecast_findings import forecast_findings
from diagnostics.rules.machine.guide_limits import guide_findings
from diagnostics.rules.machine.host_pressure import pressure_findings
from diagnostics.rules.machine.plan_findings import plan_findings
from diagnostics.rules.machine.shared_memory import shared_memory_findings
from diagnostics.rules.machine.snapshot_findings import snapshot_findings
from diagnostics.rules.machine.watched_growth import watched_findings
from diagnostics.rules.one_proposal import one_proposal_each

FIELD_WORDS = {
    "ram_total_bytes": "the machine's memory",
    "ram_available_bytes": "its available part",
    "swap_total_bytes": "swap",
    "swap_used_bytes": "its used part",
    "cgroup_version": "the version of cgroups",
    "cgroup_limit_bytes": "the container's memory limit",
    "cgroup_used_bytes": "what counts against it",
    "cgroup_cache_bytes": "its file cache",
    "page_cache_bytes": "the file cache",
    "shmem_bytes": "shared memory",
    "shm_total_bytes": "the size of /dev/shm",
    "shm_used_bytes": "its used part",
    "cores_online": "the machine's cores",
    "cores_affinity": "the cores this process may use",
    "cores_quota": "the container's core quota",
    "name": "name",
    "uuid": "UUID",
    "memory_total_bytes": "memory",
    "memory_used_bytes": "memory in use",
    "util_percent": "how busy it is",
    "processes": "its processes",
}
"""What could not be read, for people; the keys of `HostState` and `GpuState`."""
_IN_USE = ": {shares} in use once it runs"
_TOO_MUCH = ": {shares} would be needed, with what is in use"
MEMORY_FAMILIES = ("HM", "GM")
"""The rules about a run that belong into this report; the others are analyze_performance.py's."""


def build_memory_report(
    machine: MachineView, run: RunView, demand: Demand | None, watched: WatchView | None = None
) -> MemoryReport:
    """Judge machine, run, forecast and what was watched together; opens no file."""
    ranks = demand.ranks if demand else max(1, len(machine.gpus.gpus))
    bounds = guide_bounds(machine.capacity, ranks)
    view = None if demand is None else _forecast_view(demand, machine, bounds)
    findings = _findings(machine, run.report, view, watched, run.snapshots)
    return MemoryReport(
        machine=machine,
        run=run,
        forecast=view,
        bounds=bounds,
        findings=findings,
        verdict=_verdict(machine, findings, view.forecast if view else None),
        notes=_notes(machine, run.report, view),
        watched=watched,
    )


def _forecast_view(
    demand: Demand, machine: MachineView, bounds: tuple[Bounds, ...]
) -> ForecastView:
    return ForecastView(
        forecast=forecast(demand, machine.capacity, machine.gpus.gpus),
        checks=check_rules(bounds, demand.loader, demand.ranks),
    )


def _findings(
    machine: MachineView,
    run: Report | None,
    view: ForecastView | None,
    watched: WatchView | None,
    snapshots: Sequence[SnapshotView],
) -> tuple[Finding, ...]:
    found = [
        *watched_findings(watched),
        *pressure_findings(machine.capacity, machine.jobs),
    ]
    if view is None or not view.forecast.demand.loader.is_nameless:
        found += shared_memory_findings(machine.capacity)
    if view is not None:
        found += forecast_findings(view.forecast)
        found += guide_findings(view.forecast.demand, view.checks)
        found += plan_findings(view.forecast.demand, machine.capacity)
    if run is not None:
        found += [each for each in run.findings if each.rule.startswith(MEMORY_FAMILIES)]
    for each in snapshots:
        for device, outliving in zip(each.devices, each.outliving, strict=True):
            found += snapshot_findings(device, outliving)
    return one_proposal_each(without_contradictions(rank(found)))


def _verdict(machine: MachineView, findings: Sequence[Finding], found: Forecast | None) -> str:
    """The forecast's answer, else the first finding that matters, else that nothing is wrong."""
    if found is not None:
        return _answer(found)
    serious = [finding for finding in findings if finding.severity >= Severity.WARN]
    if serious:
        return serious[0].summary
    room = machine.capacity.tightest()
    if room is None:
        return "This machine's memory could not be read."
    return say(
        "{used:.0%} of {limit} are in use; nothing is wrong with memory.",
        used=room.used_share,
        limit=units.size(room.limit_bytes),
    )


def _answer(found: Forecast) -> str:
    config = found.demand.config
    answers = {
        "fits": say("{config} fits this machine", config=config),
        "tight": say("{config} fits this machine, but it is tight", config=config),
        "does not fit": say("{config} does not fit this machine", config=config),
        "unknown": say(
            "Cannot judge {config}: nothing of this machine's memory could be read", config=config
        ),
    }
    shares = [
        say("{resource} {share}", resource=resource.resource, share=units.share(resource.share))
        for resource in found.resources
        if resource.share is not None and resource.parts
    ]
    template = _TOO_MUCH if found.verdict == "does not fit" else _IN_USE
    use = say(template, shares=listed(shares)) if shares else ""
    assumed = assumed_in_short(found.demand)
    return say("{answer}{use}.{assumed}", answer=answers[found.verdict], use=use, assumed=assumed)


def _notes(machine: MachineView, run: Report | None, view: ForecastView | None) -> tuple[str, ...]:
    notes = _gaps(machine.host.unknown)
    for gpu in machine.gpus.gpus:
        notes += [say("GPU {index}: {gap}", index=gpu.index, gap=gap) for gap in _gaps(gpu.unknown)]
    notes += dict.fromkeys(
        say("process {pid}: {reason}", pid=member.process.pid, reason=reason)
        for job in machine.jobs
        for member in job.members
        for reason in member.process.unknown.values()
    )
    if view is not None:
        notes += [say("not counted: {what}", what=what) for what in view.forecast.demand.uncounted]
        if machine.jobs:
            notes.append("the training that runs now counts as memory that others use")
    if run is not None:
        notes += [
            say("{file}: {note}", file=each.path.name, note=note)
            for each in run.inputs
            for note in each.notes
        ]
    return tuple(notes)


def _gaps(unknown: Mapping[str, str]) -> list[str]:
    """What could not be read, fields of one reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in unknown.items():
        names.setdefault(reason, []).append(name)
    return [
        say(
            "{fields}: {reason}",
            fields=listed(FIELD_WORDS.get(name, name) for name in fields),
            reason=reason,
        )
        for reason, fields in names.items()
    ]
