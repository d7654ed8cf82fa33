"""Runs of the plans below a folder: which there are, and what they measured."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diagnostics.analyses.comparison_differences import flattened
from diagnostics.analyses.comparison_series import clocks_of, is_tagged_throughout, step_series
from diagnostics.analyses.memory_course import MemoryName, compute_memory_courses
from diagnostics.analyses.plan_table import MeasuredPlan
from diagnostics.analyses.plan_work import StepWork
from diagnostics.analyses.series_mean import estimate_mean, interval_of
from diagnostics.analyses.throughput import compute_throughput
from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from diagnostics.parsers.fact_records import RunRecord
from diagnostics.parsers.facts import read_meta
from diagnostics.parsers.locate import runs_below
from diagnostics.run import Run

_MEMORIES: Mapping[str, tuple[MemoryName, ...]] = {
    "cuda": ("device reserved", "GPU used"),
    "cpu": ("rank process RSS",),
}


def measured_plans(
    profiles_dir: Path, plans: Sequence[StepWork], device: Mapping[str, Any]
) -> dict[str, MeasuredPlan]:
    """The newest run of each plan on a device of that kind and name, by the plan's name.

    A run is one of a plan if all settings that decide the cost of a step are the same; a folder
    that cannot be read holds none.
    """
    try:
        folders = runs_below(profiles_dir).folders
    except DiagnosticsError:
        return {}
    metas = [(folder, meta) for folder in folders if (meta := _meta(folder)) is not None]
    metas.sort(key=lambda each: each[1].started_at, reverse=True)
    found: dict[str, MeasuredPlan] = {}
    for plan in plans:
        for folder, meta in metas:
            if _is_alike(meta, device) and _follows(meta.config, plan.settings):
                measured = _measure(folder)
                if measured is not None:
                    found[plan.name] = measured
                    break
    return found


def _meta(folder: Path) -> RunRecord | None:
    try:
        return read_meta(folder)
    except DiagnosticsError:
        return None


def _is_alike(meta: RunRecord, device: Mapping[str, Any]) -> bool:
    return all(meta.device.get(key) == device.get(key) for key in ("type", "name"))


def _follows(config: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    known = dict(flattened(config))
    return bool(known) and all(
        key in known and _plain(known[key]) == _plain(value) for key, value in settings.items()
    )


def _plain(value: Any) -> str:
    """As JSON holds it: there a tuple is a list, and 4.0 is told from 4 by nobody."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    return json.dumps(value, sort_keys=True, default=str)


def _measure(folder: Path) -> MeasuredPlan | None:
    """None where no ordinary step can be read."""
    try:
        run = load_run([folder])
    except DiagnosticsError:
        return None
    clocks = clocks_of(run)
    if not clocks or is_tagged_throughout(run):
        return None
    steps = step_series(run, clocks[0])
    if not len(steps.whole_ms):
        return None
    estimate = estimate_mean(steps.whole_ms, steps.weights)
    low_high = interval_of(estimate) if estimate.count > 1 else (None, None)
    return MeasuredPlan(
        run_id=run.info.run_id,
        count=int(steps.weights.sum()),
        step_ms=estimate.value,
        low_ms=low_high[0],
        high_ms=low_high[1],
        samples_per_s=compute_throughput(run).samples_per_s,
        memory_bytes=_memory(run),
    )


def _memory(run: Run) -> float | None:
    courses = compute_memory_courses(run)
    for name in _MEMORIES.get(str(run.info.device.get("type")), ()):
        peaks = [each.peak_bytes for each in courses if each.name == name]
        if peaks:
            return max(peaks)
    return None
