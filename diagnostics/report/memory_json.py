"""The memory report as one JSON object: sizes in bytes, times in ms, unknown is null.

Keys that both tools have mean the same in both.
"""

import json
from dataclasses import asdict
from typing import Any

from diagnostics.analyses.machine_jobs import Job
from diagnostics.analyses.memory_checks import Bounds, Check
from diagnostics.analyses.memory_forecast import ResourceForecast
from diagnostics.analyses.watch_course import WatchView
from diagnostics.language import language
from diagnostics.report.failure_words import failure_mappings
from diagnostics.report.json_report import SCHEMA_VERSION, finding_mapping, finite
from diagnostics.report.json_texts import spoken_texts
from diagnostics.report.kill_words import kill_mapping
from diagnostics.report.memory_model import (
    ForecastView,
    MachineView,
    MemoryReport,
    Rewrite,
    SnapshotView,
)
from diagnostics.report.model import Report
from diagnostics.report.shape_words import memory_mappings


def to_json(report: MemoryReport) -> str:
    """The report as text, ending with a newline; never NaN or Infinity."""
    return json.dumps(finite(spoken_texts(to_mapping(report))), allow_nan=False, indent=1) + "\n"


def to_mapping(report: MemoryReport) -> dict[str, Any]:
    """The report as plain data."""
    run = report.run.report
    return {
        "schema_version": SCHEMA_VERSION,
        "language": language(),
        "inputs": [
            {**asdict(each), "path": str(each.path), "notes": list(each.notes)}
            for each in report.run.inputs
        ],
        "run": None if run is None else _run(run),
        "run_absent_reason": report.run.absent_reason,
        "verdict": {"text": report.verdict},
        "resources": _resources(report.machine),
        "memory": [] if run is None else memory_mappings(run),
        "allocation_failures": [] if run is None else failure_mappings(run),
        "kill": None if run is None else kill_mapping(run.analysis.kill),
        "host_growth": None if run is None else asdict(run.analysis.host_growth),
        "device_growth": None if run is None else asdict(run.analysis.device_growth),
        "memory_warnings": []
        if run is None
        else [asdict(each) for each in run.analysis.memory_warnings],
        "snapshots": [_snapshot(view) for view in report.run.snapshots],
        "findings": [finding_mapping(finding) for finding in report.findings],
        "guide_rules": [asdict(bounds) for bounds in report.bounds],
        "watched": None if report.watched is None else _watched(report.watched),
        "forecast": {} if report.forecast is None else _forecast(report.forecast),
        "rewrite": _rewrite(report.rewrite),
        "notes": list(report.notes),
    }


def _watched(view: WatchView) -> dict[str, Any]:
    return {
        "seconds": float(view.at_s[-1]),
        "has_ended": view.has_ended,
        "pids": list(view.subject.pids),
        "is_training": view.subject.is_training,
        "own_core_share": view.own_core_share,
        "seconds_left": view.seconds_left,
        "growing": [
            {
                "kind": each.kind,
                "pid": each.pid,
                "role": each.role,
                "rank": each.rank,
                "count": each.count,
                "index": each.index,
                "seconds_left": each.seconds_left,
                "bytes_per_s": each.trend.slope,
                "rise_bytes": each.rise_bytes,
                "since_unix_s": each.since_unix_s,
            }
            for each in view.growing
        ],
        "courses": [
            {
                "kind": each.kind,
                "unit": each.unit,
                "pid": each.pid,
                "role": each.role,
                "rank": each.rank,
                "index": each.index,
                "values": each.values.tolist(),
            }
            for each in view.lines
        ],
        "at_s": view.at_s.tolist(),
    }


def _rewrite(made: Rewrite | None) -> dict[str, Any] | None:
    return None if made is None else {**asdict(made), "path": str(made.path)}


def _run(run: Report) -> dict[str, Any]:
    return {
        "id": run.info.run_id,
        "world_size": run.info.world_size,
        "device": run.device,
        "config": dict(run.info.config),
        "status": run.info.status,
        "error": run.analysis.end.error,
        "last_step": run.analysis.end.last_step,
    }


def _snapshot(view: SnapshotView) -> dict[str, Any]:
    return {
        "path": str(view.snapshot.path),
        "settings": dict(view.snapshot.settings),
        "devices": [
            {**asdict(device), "outliving": asdict(outliving)}
            for device, outliving in zip(view.devices, view.outliving, strict=True)
        ],
    }


def _resources(machine: MachineView) -> dict[str, Any]:
    host = {**asdict(machine.host), **asdict(machine.capacity)}
    return {
        "host": {**host, "used_share": machine.capacity.used_share},
        "gpus": [asdict(gpu) for gpu in machine.gpus.gpus],
        "gpus_absent_reason": machine.gpus.absent_reason,
        "processes": [row for job in machine.jobs for row in _processes(job)],
    }


def _processes(job: Job) -> list[dict[str, Any]]:
    return [
        {
            **asdict(member.process),
            "command": " ".join(member.process.command),
            "role": member.role,
            "job_pid": job.root_pid,
        }
        for member in job.members
    ]


def _forecast(view: ForecastView) -> dict[str, Any]:
    found, demand = view.forecast, view.forecast.demand
    return {
        "config": demand.config,
        "verdict": found.verdict,
        "device": demand.device,
        "ranks": demand.ranks,
        "resources": [_resource(resource) for resource in found.resources],
        "guide_checks": [_check(check) for check in view.checks],
        "data": asdict(demand.data),
        "loader": asdict(demand.loader),
        "machines": demand.machines,
        "loading_plan": asdict(demand.loading_plan) if demand.loading_plan else None,
        "model": {**asdict(demand.model), "total_bytes": demand.model.total_bytes},
        "stages": [asdict(stage) for stage in demand.stages],
        "sources": dict(demand.sources),
        "uncounted": list(demand.uncounted),
    }


def _resource(resource: ResourceForecast) -> dict[str, Any]:
    return {
        **asdict(resource),
        "need_bytes": resource.need_bytes,
        "share": resource.share,
    }


def _check(check: Check) -> dict[str, Any]:
    bounds: Bounds = check.bounds
    return {**asdict(bounds), "value": check.value, "status": check.status}
