"""From the steady growth of memories to what rules need of it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diagnostics.analyses.growth_trend import GrowthTrend, growth_trend
from diagnostics.analyses.host_growth import GrowingMemory, HostGrowth
from diagnostics.analyses.memory_course import MemoryCourse
from diagnostics.language import say
from diagnostics.run import Run

_NAMES = {
    "training_process": "training process {pid}",
    "loader_process": "loader process {pid}",
    "loader_processes": "the {count} loader processes together",
    "copied_pages": "the pages that {count} loader processes copied as they touched them",
    "other_process": "process {pid}",
    "shared_memory": "the shared memory of {owner}",
    "process_tree": "the process tree",
}


def host_growth_fields(
    growth: HostGrowth, use: tuple[float | None, float | None] | None
) -> dict[str, Any]:
    """`use` is peak and limit of the fullest machine's memory."""
    if growth.num_steps is None:
        return {}
    fields: dict[str, Any] = {"host_memory_course_steps": growth.num_steps}
    if not growth.num_judged:
        return fields
    slope = growth.bytes_per_step
    fields |= {
        "host_memory_growth_bytes_per_step": slope,
        "host_memory_rise_bytes": growth.rise_bytes,
        "host_memory_growth_of": {holder_name(each): each.trend.slope for each in growth.growing},
        "host_memory_holder": growth.growing[0].holder if growth.growing else None,
    }
    if slope > 0 and use is not None and use[0] is not None and use[1] is not None:
        fields["host_memory_steps_to_limit"] = max(0.0, use[1] - use[0]) / slope
    return fields


def holder_name(growing: GrowingMemory) -> str:
    """Who holds the memory, as a report says it."""
    name = _name(growing)
    return (
        name if growing.rank is None else say("{name} (rank {rank})", name=name, rank=growing.rank)
    )


def _name(growing: GrowingMemory) -> str:
    if growing.holder == "training_process" and growing.pid is None:
        return say("the training process of {owner}", owner=growing.owner)
    if growing.filler is not None:
        return say(
            "the shared memory of {owner}, filled by {process}",
            owner=growing.owner,
            process=say(_NAMES[growing.filler], pid=growing.pid),
        )
    return say(
        _NAMES[growing.holder],
        pid=growing.pid,
        count=growing.num_processes,
        owner=growing.owner,
    )


def device_growth_fields(
    courses: Sequence[MemoryCourse], pids: Mapping[str, int]
) -> dict[str, Any]:
    """Of the rank whose tensors grow most; `pids` are the ranks' processes by owner."""
    followed = [each for each in courses if each.name == "device allocated"]
    found = [(each, _trend(each)) for each in followed]
    judged = [(course, trend) for course, trend in found if trend is not None]
    if not judged:
        return {}
    slopes = [(course, trend.slope if trend.grows else 0.0) for course, trend in judged]
    course, slope = max(slopes, key=lambda each: each[1])
    steps = [point.step for point in course.points if point.step is not None]
    return {
        "device_memory_growth_bytes_per_step": slope,
        "device_memory_holder": _rank_name(course.owner, pids.get(course.owner)),
        "device_memory_course_steps": int(max(steps) - min(steps)),
    }


def rank_pids(run: Run) -> dict[str, int]:
    """The process of each rank, by the name that its memory courses have."""
    alone = run.info.pid if (run.info.world_size or 1) == 1 else None
    found = {} if alone is None else {str(say("rank {rank}", rank=0)): alone}
    places = run.tables.rank_places.dropna(subset=["pid"])
    for rank, pid in zip(places["rank"], places["pid"], strict=True):
        found[str(say("rank {rank}", rank=rank))] = int(pid)
    return found


def _rank_name(owner: str, pid: int | None) -> str:
    return owner if pid is None else say("{owner}, process {pid}", owner=owner, pid=pid)


def _trend(course: MemoryCourse) -> GrowthTrend | None:
    points = [each for each in course.points if each.step is not None]
    return growth_trend(
        np.array([each.step for each in points], dtype="float64"),
        np.array([each.size_bytes for each in points], dtype="float64"),
    )
