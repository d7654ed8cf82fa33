"""Memory over the run: the trainer's process tree, the machine, and each device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.gpu_load import split_gpus
from diagnostics.analyses.resources import sum_of_complete
from diagnostics.analyses.robust_slope import Slope, theil_sen
from diagnostics.language import say
from diagnostics.run import Run

MAX_POINTS = 512
MAX_GROWTH_STEPS = 100
_LEAST_STEPS = 8
"""Between the first and the last point of a slope: fewer steps show nothing but a start."""

MemoryName = Literal[
    "process tree RSS",
    "process tree PSS",
    "rank process RSS",
    "system used",
    "container used",
    "device allocated",
    "device reserved",
    "device peak allocated",
    "GPU used",
]


@dataclass(frozen=True, kw_only=True)
class MemoryPoint:
    """One measurement. `step` or `at_unix_s` is None where it is not known."""

    step: float | None
    at_unix_s: float | None
    size_bytes: float


@dataclass(frozen=True, kw_only=True)
class MemoryCourse:
    """One memory over time, in bytes.

    Of a text log, "process tree RSS" is what its lines call Process: shared pages count once in it
    where the kernel tells. "system used" is the machine's memory in use against all of it,
    "container used" what counts against the limit of its container (cgroup). `owner` is a rank
    ("rank 0"), a machine, or a GPU of it; `source` is the kind of record it was read from.
    `slope_bytes_per_100_steps` is the Theil-Sen slope over the whole course with its 95 % interval,
    `late_slope_bytes_per_100_steps` that over the second half, where warming up is over; None with
    fewer than three points or where steps are not known.
    `points` is thinned to at most about 512, first, last and peak kept.
    """

    name: MemoryName
    owner: str
    source: str
    num_points: int
    first_bytes: float
    last_bytes: float
    peak_bytes: float
    limit_bytes: float | None
    slope_bytes_per_100_steps: float | None
    slope_low_bytes_per_100_steps: float | None
    slope_high_bytes_per_100_steps: float | None
    late_slope_bytes_per_100_steps: float | None
    late_slope_low_bytes_per_100_steps: float | None
    late_slope_high_bytes_per_100_steps: float | None
    points: tuple[MemoryPoint, ...]

    @property
    def late_steps(self) -> int | None:
        """Steps that the second half covers; None where steps are not known."""
        steps = [point.step for point in self.points if point.step is not None]
        return int(max(steps) - min(steps)) // 2 if steps else None

    def late_growth_bytes(self, num_steps: int) -> float | None:
        """What it grows by in so many steps, by the slope over its second half."""
        slope = self.late_slope_bytes_per_100_steps
        return None if slope is None else slope * num_steps / 100


def growth_steps(courses: Sequence[MemoryCourse]) -> int:
    """The steps to tell growth over: 100, or in a shorter run what was really seen of it."""
    seen = max((course.late_steps or 0 for course in courses), default=0)
    return min(MAX_GROWTH_STEPS, seen) if seen else MAX_GROWTH_STEPS


def compute_memory_courses(run: Run) -> tuple[MemoryCourse, ...]:
    """Every memory that was measured; the log's lines serve where facts hold no such course."""
    step_at = StepAt(run.tables.steps)
    recorded = [*_of_machines(run, step_at), *_of_ranks(run.tables.steps)]
    known = {course.name for course in recorded}
    stated = [course for course in _of_log(run.tables.memory_lines) if course.name not in known]
    return (*recorded, *stated)


class StepAt:
    """Which step ran at a time, by the lowest rank; between two starts in proportion."""

    def __init__(self, steps: pd.DataFrame) -> None:
        started = steps[steps["rank"] == steps["rank"].min()].dropna(subset=["start_unix_s"])
        started = started.sort_values("start_unix_s")
        self._times = started["start_unix_s"].to_numpy()
        self._steps = started["step"].to_numpy(dtype="float64")

    def __call__(self, at_unix_s: Floats) -> Floats:
        """The step, NaN before the first and after the last start."""
        if not len(self._times):
            return np.full(len(at_unix_s), np.nan)
        found = np.interp(at_unix_s, self._times, self._steps, left=np.nan, right=np.nan)
        return np.asarray(found, dtype="float64")


def _of_machines(run: Run, step_at: StepAt) -> Iterator[MemoryCourse]:
    for host, rows in _groups(run.tables.processes, "host"):
        for name, column in _TREE_COLUMNS.items():
            total = sum_of_complete(rows, column)
            yield from _course(name, host, "resource samples", total, step_at)
    for host, rows in _groups(run.tables.host, "host"):
        samples = rows.set_index("at_unix_s")
        used = samples["ram_total_bytes"] - samples["ram_available_bytes"]
        limit = _smallest(samples["ram_total_bytes"].max())
        yield from _course("system used", host, "resource samples", used, step_at, limit)
        limit = _smallest(samples["cgroup_limit_bytes"].min())
        used = samples["cgroup_used_bytes"]
        yield from _course("container used", host, "resource samples", used, step_at, limit)
    for (host, index, mig_index), rows in split_gpus(run.tables.gpus):
        samples = rows.set_index("at_unix_s")
        limit = _smallest(samples["memory_total_bytes"].max())
        used = samples["memory_used_bytes"]
        owner = f"{host} GPU {index}" + ("" if mig_index is None else f".{mig_index}")
        yield from _course("GPU used", owner, "resource samples", used, step_at, limit)


def _of_ranks(steps: pd.DataFrame) -> Iterator[MemoryCourse]:
    for rank, rows in _groups(steps, "rank"):
        times = rows["start_unix_s"].to_numpy()
        numbers = rows["step"].to_numpy(dtype="float64")
        for name, column in _RANK_COLUMNS.items():
            values = rows[column].to_numpy()
            yield from _course_of(
                name, say("rank {rank}", rank=rank), "step records", numbers, times, values
            )


def _of_log(lines: pd.DataFrame) -> Iterator[MemoryCourse]:
    steps = lines["step"].to_numpy()
    times = np.full(len(lines), np.nan)
    for name, column in _LINE_COLUMNS.items():
        limit = None
        if name == "system used":
            limit = _smallest(lines["system_total_bytes"].max())
        values = lines[column].to_numpy()
        yield from _course_of(name, "rank 0", "text log", steps, times, values, limit)


_TREE_COLUMNS: dict[MemoryName, str] = {
    "process tree RSS": "rss_bytes",
    "process tree PSS": "pss_bytes",
}
_RANK_COLUMNS: dict[MemoryName, str] = {
    "rank process RSS": "process_rss_bytes",
    "device allocated": "device_allocated_bytes",
    "device reserved": "device_reserved_bytes",
    "device peak allocated": "device_peak_allocated_bytes",
}
_LINE_COLUMNS: dict[MemoryName, str] = {
    "process tree RSS": "process_rss_bytes",
    "system used": "system_used_bytes",
    "device allocated": "gpu_allocated_bytes",
    "device reserved": "gpu_reserved_bytes",
}


def _groups(rows: pd.DataFrame, key: str) -> list[tuple[str, pd.DataFrame]]:
    return [(str(value), rows[rows[key] == value]) for value in sorted(rows[key].unique())]


def _smallest(*values: float) -> float | None:
    known = [float(value) for value in values if not np.isnan(value)]
    return min(known, default=None)


def _course(
    name: MemoryName,
    owner: str,
    source: str,
    by_time: "pd.Series[float]",
    step_at: StepAt,
    limit_bytes: float | None = None,
) -> Iterator[MemoryCourse]:
    times = np.asarray(by_time.index, dtype="float64")
    values = np.asarray(by_time, dtype="float64")
    yield from _course_of(name, owner, source, step_at(times), times, values, limit_bytes)


def _course_of(
    name: MemoryName,
    owner: str,
    source: str,
    steps: Floats,
    times: Floats,
    values: Floats,
    limit_bytes: float | None = None,
) -> Iterator[MemoryCourse]:
    """The course of the values that are known; nothing without any."""
    is_known = ~np.isnan(values)
    steps, times, values = steps[is_known], times[is_known], values[is_known]
    if not len(values):
        return
    whole, late = _slopes(steps, values)
    yield MemoryCourse(
        name=name,
        owner=owner,
        source=source,
        num_points=len(values),
        first_bytes=float(values[0]),
        last_bytes=float(values[-1]),
        peak_bytes=float(values.max()),
        limit_bytes=limit_bytes,
        slope_bytes_per_100_steps=_per_100(whole, "value"),
        slope_low_bytes_per_100_steps=_per_100(whole, "low"),
        slope_high_bytes_per_100_steps=_per_100(whole, "high"),
        late_slope_bytes_per_100_steps=_per_100(late, "value"),
        late_slope_low_bytes_per_100_steps=_per_100(late, "low"),
        late_slope_high_bytes_per_100_steps=_per_100(late, "high"),
        points=_thinned(steps, times, values),
    )


def _slopes(steps: Floats, values: Floats) -> tuple[Slope | None, Slope | None]:
    """Over the whole course, and over its second half by steps."""
    has_step = ~np.isnan(steps)
    steps, values = steps[has_step], values[has_step]
    if not len(steps):
        return None, None
    is_late = steps >= (steps.min() + steps.max()) / 2
    return _slope(steps, values), _slope(steps[is_late], values[is_late])


def _slope(steps: Floats, values: Floats) -> Slope | None:
    return theil_sen(steps, values) if np.ptp(steps) >= _LEAST_STEPS else None


def _per_100(slope: Slope | None, bound: Literal["value", "low", "high"]) -> float | None:
    return None if slope is None else 100 * float(getattr(slope, bound))


def _thinned(steps: Floats, times: Floats, values: Floats) -> tuple[MemoryPoint, ...]:
    even = np.linspace(0, len(values) - 1, num=min(MAX_POINTS, len(values))).round()
    kept = sorted({*even.astype(int).tolist(), int(values.argmax())})
    return tuple(
        MemoryPoint(
            step=None if np.isnan(steps[place]) else float(steps[place]),
            at_unix_s=None if np.isnan(times[place]) else float(times[place]),
            size_bytes=float(values[place]),
        )
        for place in kept
    )
