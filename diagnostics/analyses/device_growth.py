"""Tensors on a device that hold more step by step, by rank and process. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import GrowthTrend
from diagnostics.analyses.late_growth import growth_at_last
from diagnostics.analyses.memory_course import MemoryCourse, MemoryPoint
from diagnostics.language import say
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class GrowingTensors:
    """What one rank's tensors hold at the end of a step, where it grows steadily.

    `pid` is None where it is not known; `host` is None, too, where there is one machine only. The
    trend's times are steps, its values bytes.
    """

    owner: str
    pid: int | None
    host: str | None
    trend: GrowthTrend


@dataclass(frozen=True, kw_only=True)
class DeviceGrowth:
    """Of every rank; `growing` has the steepest first.

    `num_steps` is over how many steps a device was followed, None if none was; `num_judged` counts
    the ranks with enough points for a trend.
    """

    growing: tuple[GrowingTensors, ...] = ()
    num_steps: int | None = None
    num_judged: int = 0


def compute_device_growth(run: Run, courses: Sequence[MemoryCourse]) -> DeviceGrowth:
    """By what PyTorch's allocator had given out at the end of each step."""
    followed = [
        (each, points)
        for each in courses
        if each.name == "device allocated"
        and (points := [point for point in each.points if point.step is not None])
    ]
    trends = [(course, _trend(points)) for course, points in followed]
    places = _places(run)
    found = [
        GrowingTensors(
            owner=course.owner,
            pid=places.get(course.owner, (None, None))[0],
            host=places.get(course.owner, (None, None))[1],
            trend=trend,
        )
        for course, trend in trends
        if trend is not None and trend.grows
    ]
    return DeviceGrowth(
        growing=tuple(sorted(found, key=lambda each: -each.trend.slope)),
        num_steps=max((int(np.ptp(_steps(points))) for _, points in followed), default=None),
        num_judged=sum(trend is not None for _, trend in trends),
    )


def _trend(points: Sequence[MemoryPoint]) -> GrowthTrend | None:
    sizes = np.array([each.size_bytes for each in points], dtype="float64")
    return growth_at_last(_steps(points), sizes)


def _steps(points: Sequence[MemoryPoint]) -> Floats:
    return np.array([each.step for each in points], dtype="float64")


def _places(run: Run) -> Mapping[str, tuple[int | None, str | None]]:
    """Process and machine of each rank, by the name that its memory courses have."""
    found = dict(_told(run))
    several = len({host for _, host in found.values()}) > 1
    return {name: (pid, host if several else None) for name, (pid, host) in found.items()}


def _told(run: Run) -> Iterator[tuple[str, tuple[int, str | None]]]:
    """Rank 0 by the run itself, the others by what they wrote down."""
    if run.info.pid is not None:
        yield str(say("rank {rank}", rank=0)), (run.info.pid, run.info.host)
    places = run.tables.rank_places.dropna(subset=["pid"])
    for rank, pid, host in zip(places["rank"], places["pid"], places["host"], strict=True):
        name = str(host) if isinstance(host, str) else None
        yield str(say("rank {rank}", rank=rank)), (int(pid), name)
