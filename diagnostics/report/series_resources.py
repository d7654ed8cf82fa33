"""Memory and use of the machine over the course of a run, short enough to draw. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.gpu_load import split_gpus
from diagnostics.analyses.memory_course import MemoryCourse
from diagnostics.report.series_buckets import Bucket, even_edges, is_near, make_buckets
from diagnostics.run import Run

MAX_COURSE_BUCKETS = 120
"""Courses are drawn small, several in a row."""

Axis = Literal["s", "step"]
Unit = Literal["bytes", "percent", "W"]
Kind = Literal[
    "device memory", "host memory", "CPU use", "GPU use", "GPU power", "multiprocessors active"
]
_DEVICE_NAMES = ("device allocated", "device reserved", "device peak allocated", "GPU used")
_GPU_LEVELS: tuple[tuple[Kind, str, Unit], ...] = (
    ("GPU use", "util_percent", "percent"),
    ("multiprocessors active", "sm_active_percent", "percent"),
    ("GPU power", "power_w", "W"),
)


@dataclass(frozen=True, kw_only=True)
class Course:
    """One quantity over time (seconds since the first sample of the run) or over steps.

    `name` is what of the kind it is where there are several ("process tree PSS"), `owner` whose.
    `limit` is the most there can be, in the same unit.
    """

    kind: Kind
    name: str | None
    owner: str
    unit: Unit
    axis: Axis
    buckets: tuple[Bucket, ...]
    limit: float | None = None

    @property
    def peak(self) -> float:
        """The largest value."""
        return max(each.high for each in self.buckets)


def memory_courses(courses: tuple[MemoryCourse, ...]) -> tuple[Course, ...]:
    """Every memory that was followed; over time where all its points have one."""
    timed = [
        point.at_unix_s
        for course in courses
        for point in course.points
        if point.at_unix_s is not None
    ]
    start_unix_s = min(timed, default=0.0)
    made = (_memory(course, start_unix_s) for course in courses)
    return tuple(course for course in made if course is not None)


def _memory(course: MemoryCourse, start_unix_s: float) -> Course | None:
    axis: Axis = "s" if all(point.at_unix_s is not None for point in course.points) else "step"
    places, sizes = [], []
    for point in course.points:
        place = point.step if axis == "step" else point.at_unix_s
        if place is not None:
            places.append(place if axis == "step" else place - start_unix_s)
            sizes.append(point.size_bytes)
    buckets = _buckets(np.array(places), np.array(sizes))
    if not buckets:
        return None
    return Course(
        kind="device memory" if course.name in _DEVICE_NAMES else "host memory",
        name=course.name,
        owner=course.owner,
        unit="bytes",
        axis=axis,
        buckets=buckets,
        limit=course.limit_bytes,
    )


def load_courses(run: Run) -> tuple[Course, ...]:
    """Use of the processor of each machine, then of each GPU; equal kinds side by side."""
    start_unix_s = _first_sample(run)
    hosts = run.tables.host
    found = [
        _load("CPU use", str(host), "percent", hosts[hosts["host"] == host], "cpu_percent")
        for host in sorted(hosts["host"].unique())
    ]
    for kind, column, unit in _GPU_LEVELS:
        for (host, index, mig), rows in split_gpus(run.tables.gpus):
            owner = f"{host} GPU {index}" + ("" if mig is None else f".{mig}")
            found.append(_load(kind, owner, unit, rows, column))
    return tuple(_moved(course, -start_unix_s) for course in found if course is not None)


def _first_sample(run: Run) -> float:
    times = pd.concat([run.tables.host["at_unix_s"], run.tables.gpus["at_unix_s"]])
    return float(times.min()) if len(times) else 0.0


def _load(kind: Kind, owner: str, unit: Unit, rows: pd.DataFrame, column: str) -> Course | None:
    times, values = (rows[name].to_numpy(dtype="float64") for name in ("at_unix_s", column))
    buckets = _buckets(times, values)
    if not buckets:
        return None
    limit = 100.0 if unit == "percent" else _largest(rows["power_limit_w"])
    return Course(
        kind=kind, name=None, owner=owner, unit=unit, axis="s", buckets=buckets, limit=limit
    )


def _largest(values: "pd.Series[float]") -> float | None:
    known = values.dropna()
    return float(known.max()) if len(known) else None


def _buckets(places: Floats, values: Floats) -> tuple[Bucket, ...]:
    is_known = is_near(places) & np.isfinite(values)
    places, values = places[is_known], values[is_known]
    if not len(values):
        return ()
    edges = even_edges(places, MAX_COURSE_BUCKETS)
    return make_buckets(places, values, np.ones(len(values)), edges)


def _moved(course: Course, by_s: float) -> Course:
    return replace(course, buckets=tuple(_moved_buckets(course.buckets, by_s)))


def _moved_buckets(buckets: tuple[Bucket, ...], by: float) -> Iterator[Bucket]:
    for each in buckets:
        yield replace(
            each,
            start=each.start + by,
            end=each.end + by,
            first=each.first + by,
            last=each.last + by,
        )
