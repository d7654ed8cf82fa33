"""The parts of the JSON report that traces fill."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from diagnostics.analyses.communication import CommunicationUse
from diagnostics.analyses.fact_partition import FactIdle
from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.report.model import Report, Window

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NS_PER_MS = 1e6


def breakdown_of(report: Report) -> dict[str, Any]:
    """Shares of the window, of all traces together where there are any; else of the facts."""
    found = report.analysis.trace_summary
    if found is None:
        return _of_facts(report.window, report.analysis.communication)
    return {
        "window_ms": found.window_ms,
        "window": "steps" if found.has_steps else "whole trace",
        "clock": "device" if found.has_device else "host",
        "compute_share": found.compute_share,
        "comm_share": found.communication_share,
        "comm_exposed_share": found.communication_exposed_share,
        "copy_exposed_share": found.copy_exposed_share,
        "idle_share": found.idle_share,
        "gpu_busy_share": found.gpu_busy_share,
        "data_wait_share": found.data_loader_share,
        "data_wait_exposed_share": found.data_loader_exposed_share,
        "source": "trace",
    }


def _of_facts(window: Window | None, exchanged: CommunicationUse | None) -> dict[str, Any]:
    """Those that only a trace can give are null."""
    unknown = ("compute", "copy_exposed", "idle", "gpu_busy")
    return {
        "window_ms": window.window_ms if window else None,
        "window": "steps" if window else None,
        "clock": window.clock if window else None,
        **{f"{name}_share": None for name in unknown},
        "comm_share": exchanged.share if exchanged else None,
        "comm_exposed_share": exchanged.exposed_share if exchanged else None,
        "data_wait_share": window.data_wait_share if window else None,
        "data_wait_exposed_share": window.data_wait_exposed_share if window else None,
        "source": "facts" if window else None,
    }


def partition_of(report: Report) -> list[dict[str, Any]]:
    """The partition by priority over all traces; without one, the phases by the run's facts."""
    found = report.analysis.trace_summary
    parts = report.analysis.fact_partition.parts if found is None else found.partition
    return [{"name": part.name, "share": part.share} for part in parts]


def idle_causes_of(report: Report) -> list[dict[str, Any]]:
    """Idle time by cause, per step of each trace, heaviest first; else as far as facts tell."""
    if report.analysis.trace_summary is None:
        return [_idle_of_facts(cause) for cause in report.analysis.fact_partition.idle_causes]
    rows = [
        {
            "rank": each.rank,
            "cause": cause.cause,
            "ms_per_step": cause.ms_per_step,
            "share_of_window": cause.share_of_window,
            "num_gaps": cause.num_gaps,
            "where": cause.where,
            "places": [in_ms(place) for place in cause.places],
        }
        for each in _with_steps(report)
        for cause in each.idle_causes
    ]
    return sorted(rows, key=lambda row: (-(row["ms_per_step"] or 0.0), -row["share_of_window"]))


def _idle_of_facts(cause: FactIdle) -> dict[str, Any]:
    """Rank, gaps and places are what only a trace can give."""
    return {
        "rank": None,
        "cause": cause.cause,
        "ms_per_step": cause.ms_per_step,
        "share_of_window": cause.share,
        "num_gaps": None,
        "where": None,
        "places": [],
    }


def traces_of(report: Report) -> list[dict[str, Any]]:
    """Each trace: its steps and its kernels."""
    return [
        {
            "file": each.file,
            "rank": each.rank,
            "num_steps": each.num_steps,
            "step_mark": each.step_mark,
            "has_stacks": each.has_stacks,
            "not_evaluated": [asdict(absence) for absence in each.absences],
            "kernels": None if each.kernels is None else in_ms(each.kernels),
            "copies": [in_ms(copy) for copy in each.copies],
            "collectives": [in_ms(use) for use in each.collectives],
            "recomputation": in_ms(each.recomputation),
            "memory": [
                in_ms(memory) | {"peak_bytes": memory.peak_bytes, "share": memory.share}
                for memory in each.memory
            ],
            "critical_path": None if each.critical_path is None else in_ms(each.critical_path),
        }
        for each in report.analysis.traces
    ]


def trace_ranks_of(report: Report) -> dict[str, Any]:
    """The traces of several ranks side by side."""
    return asdict(report.analysis.trace_ranks)


def in_ms(found: "DataclassInstance") -> dict[str, Any]:
    """A result as plain data; what it holds in ns, it gives in ms."""
    plain: dict[str, Any] = _in_ms(asdict(found))
    return plain


def _in_ms(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(_field_in_ms(name, held) for name, held in value.items())
    if isinstance(value, list | tuple):
        return [_in_ms(item) for item in value]
    return value


def _field_in_ms(name: str, value: Any) -> tuple[str, Any]:
    if name == "ns" or name.endswith("_ns"):
        return f"{name[:-2]}ms", None if value is None else value / _NS_PER_MS
    return name, _in_ms(value)


def _with_steps(report: Report) -> list[TraceAnalysis]:
    return [each for each in report.analysis.traces if each.breakdown is not None]
