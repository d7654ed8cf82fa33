"""From the steady growth of memories to what rules need of it. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diagnostics.analyses.growth_trend import GrowthTrend, growth_trend
from diagnostics.analyses.host_growth import GrowingMemory, HostGrowth
from diagnostics.analyses.memory_course import MemoryCourse
from diagnostics.language import say

_NAMES = {
    "training_process": "training process {pid}",
    "loader_process": "loader process {pid}",
    "loader_processes": "all {count} loader processes together",
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
    if growing.holder == "training_process" and growing.pid is None:
        return say("the training process of {owner}", owner=growing.owner)
    return say(
        _NAMES[growing.holder],
        pid=growing.pid,
        count=growing.num_processes,
        owner=growing.owner,
    )


def device_growth_fields(courses: Sequence[MemoryCourse]) -> dict[str, Any]:
    """Of the rank whose tensors grow most."""
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
        "device_memory_course_steps": int(max(steps) - min(steps)),
    }


def _trend(course: MemoryCourse) -> GrowthTrend | None:
    points = [each for each in course.points if each.step is not None]
    return growth_trend(
        np.array([each.step for each in points], dtype="float64"),
        np.array([each.size_bytes for each in points], dtype="float64"),
    )
