"""The report as one JSON object: times in ms, sizes in bytes, unknown is null.

The keys are fixed: more may come, none is renamed. Keys of what this version does not do are there
and empty.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from diagnostics.language import language
from diagnostics.report.comparison_json import comparison_mapping
from diagnostics.report.failure_words import failure_mappings
from diagnostics.report.json_texts import spoken_texts
from diagnostics.report.json_trace import (
    breakdown_of,
    idle_causes_of,
    partition_of,
    trace_ranks_of,
    traces_of,
)
from diagnostics.report.json_trust import trust_mapping
from diagnostics.report.kill_words import kill_mapping
from diagnostics.report.model import Report, StageRow
from diagnostics.report.rank_json import (
    communication_mapping,
    ranks_mapping,
    slowest_rank_mapping,
)
from diagnostics.report.shape_words import memory_mappings
from diagnostics.rules.finding import Advice, Finding

SCHEMA_VERSION = 1


def to_json(report: Report) -> str:
    """The report as text, ending with a newline; never NaN or Infinity."""
    return json.dumps(finite(spoken_texts(to_mapping(report))), allow_nan=False, indent=1) + "\n"


def to_mapping(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "language": language(),
        "inputs": [
            {**asdict(each), "path": str(each.path), "notes": list(each.notes)}
            for each in report.inputs
        ],
        "evidence": report.evidence,
        "trust": trust_mapping(report.trust),
        "run": _run(report),
        "verdict": asdict(report.verdict),
        "step": _step(report),
        "phases": [asdict(phase) for phase in report.phases],
        "host_phases": [asdict(phase) for phase in report.host_phases],
        "stages": [_stage(row) for row in report.stages],
        "stage_totals": [asdict(each) for each in report.analysis.stage_totals],
        "closures": [asdict(closure) for closure in report.analysis.breakdown.closures],
        "breakdown": breakdown_of(report),
        "partition": partition_of(report),
        "idle_causes": idle_causes_of(report),
        "traces": traces_of(report),
        "trace_ranks": trace_ranks_of(report),
        "ranks": ranks_mapping(report.analysis),
        "slowest_rank": slowest_rank_mapping(report.analysis.ranks),
        "communication": communication_mapping(report.analysis.communication),
        "resources": _resources(report),
        "memory": memory_mappings(report),
        "host_growth": asdict(report.analysis.host_growth),
        "device_growth": asdict(report.analysis.device_growth),
        "memory_warnings": [asdict(each) for each in report.analysis.memory_warnings],
        "device_memory": [
            {**asdict(each), "peak_place": each.peak_place}
            for each in report.analysis.device_memory
        ],
        "quality": asdict(report.analysis.quality),
        "cache": asdict(report.analysis.cache) if report.analysis.cache else None,
        "black_box": asdict(report.analysis.black_boxes),
        "allocation_failures": failure_mappings(report),
        "kill": kill_mapping(report.analysis.kill),
        "loader": _loader(report),
        "damaged_samples": (asdict(report.analysis.damaged) if report.analysis.damaged else None),
        "loader_starts": (
            asdict(report.analysis.loader_starts) if report.analysis.loader_starts else None
        ),
        "worker_plan": (
            asdict(report.analysis.worker_plan) if report.analysis.worker_plan else None
        ),
        "rhythm": asdict(report.analysis.rhythm),
        "outside_steps": asdict(report.analysis.outside),
        "making_cpu": asdict(report.analysis.making_cpu) if report.analysis.making_cpu else None,
        "data_set": asdict(report.analysis.data_set) if report.analysis.data_set else None,
        "epoch_waits": _epoch_waits(report),
        "storage_reads": (
            asdict(report.analysis.storage_reads) if report.analysis.storage_reads else None
        ),
        "validation_reads": (
            asdict(report.analysis.validation_reads) if report.analysis.validation_reads else None
        ),
        "core_use": [asdict(each) for each in report.analysis.core_use],
        "findings": [finding_mapping(finding) for finding in report.findings],
        "not_evaluated": [asdict(item) for item in report.not_evaluated],
        "passed": list(report.passed),
        "log_claims": asdict(report.analysis.log_claims),
        "checklist": [asdict(item) for item in report.checklist],
        "comparison": comparison_mapping(report.against_baseline),
        "forecast": {"plans": asdict(report.plans)} if report.plans else {},
        "recorder_cost": (
            asdict(report.analysis.recorder_cost) if report.analysis.recorder_cost else {}
        ),
        "thresholds": asdict(report.thresholds),
        "notes": list(report.notes),
    }


def _epoch_waits(report: Report) -> dict[str, Any] | None:
    found = report.analysis.epoch_waits
    return None if found is None else {**asdict(found), "epochs_planned": found.epochs_planned}


def _run(report: Report) -> dict[str, Any]:
    info = report.info
    return {
        "id": info.run_id,
        "name": info.name,
        "trainer": info.trainer,
        "world_size": info.world_size,
        "device": report.device,
        "config": dict(info.config),
        "device_name": info.device.get("name"),
        "clock": report.analysis.breakdown.clock,
        "host": info.host,
        "status": info.status,
        "error": report.analysis.end.error,
        "last_step": report.analysis.end.last_step,
        "started_at": info.started_at,
        "ended_at": info.ended_at,
        "total_steps": info.total_steps,
        "first_step": info.first_step,
        "resumed_from": info.resumed_from,
        "versions": dict(info.versions),
        "profiled_steps": list(info.profiled_steps) if info.profiled_steps else None,
        "traces": [str(path) for path in info.traces],
    }


def _step(report: Report) -> dict[str, Any]:
    breakdown, rate = report.analysis.breakdown, report.analysis.throughput
    step = breakdown.step
    return {
        "count": breakdown.count,
        "excluded": breakdown.excluded,
        "excluded_by_tag": dict(breakdown.excluded_by_tag),
        "excluded_by_tags": dict(breakdown.excluded_by_tags),
        "mean_ms": step.mean_ms if step else None,
        "median_ms": step.median_ms if step else None,
        "p95_ms": step.p95_ms if step else None,
        "samples_per_s": rate.samples_per_s,
        "samples_per_step": rate.samples_per_step,
        "wall_samples_per_s": rate.wall_samples_per_s,
        "data_against_compute": (
            asdict(breakdown.data_against_compute) if breakdown.data_against_compute else None
        ),
    }


def _stage(row: StageRow) -> dict[str, Any]:
    return {**asdict(row.time), "priority": row.priority}


def _loader(report: Report) -> dict[str, Any]:
    """How batches are made and found; the copies to the device beside it."""
    found = asdict(report.analysis.loading)
    return {name: value for name, value in found.items() if name != "reasons"}


def _resources(report: Report) -> dict[str, Any]:
    found = report.analysis.resources
    return {
        "host": asdict(found.hosts[0]) if found.hosts else {},
        "hosts": [asdict(host) for host in found.hosts],
        "gpus": [asdict(gpu) for gpu in found.gpus],
        "processes": [asdict(process) for process in found.processes],
        "gpus_absent_reason": found.gpus_absent_reason,
        "energy": asdict(found.energy),
        "sampling": [asdict(each) for each in found.sampling],
    }


def finding_mapping(finding: Finding) -> dict[str, Any]:
    """A finding as plain data."""
    return {
        **asdict(finding),
        "severity": finding.severity.label,
        "capped_from": finding.capped_from.label if finding.capped_from else None,
        "values": dict(finding.values),
        "evidence": [asdict(evidence) for evidence in finding.evidence],
        "advice": [_advice(advice) for advice in finding.advice],
        "explains": list(finding.explains),
    }


def _advice(advice: Advice) -> dict[str, Any]:
    gain = advice.predicted_gain
    return {
        "text": advice.text,
        "config_change": asdict(advice.config_change) if advice.config_change else None,
        "predicted_gain_ms": (
            {"low": gain.low_ms, "mid": gain.mid_ms, "high": gain.high_ms} if gain else None
        ),
        "verify": advice.verify,
    }


def finite(value: Any) -> Any:
    """The same value with null for every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
