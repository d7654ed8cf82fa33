"""From the steady growth of memories to what rules need of it. Pure."""

from typing import Any

from diagnostics.analyses.device_growth import DeviceGrowth, GrowingTensors
from diagnostics.analyses.host_growth import GrowingMemory, HostGrowth
from diagnostics.language import say
from diagnostics.rules.named_pids import named_pids

_NAMES = {
    "training_process": "training process {pid}",
    "loader_process": "loader process {pid}",
    "loader_processes": "the {count} loader processes together{pids}",
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
        "host_memory_growth_steps": growth.stretch,
        "host_memory_growth_of": {holder_name(each): each.trend.slope for each in growth.growing},
    }
    if growth.growing:
        steepest = growth.growing[0]
        fields |= {
            "host_memory_holder": steepest.holder,
            "host_memory_growth_is_private": _is_private(steepest),
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


def _is_private(growing: GrowingMemory) -> bool:
    """Of processes that were sampled one by one only what they do not share was followed."""
    if growing.holder in ("loader_processes", "copied_pages"):
        return True
    return growing.holder != "shared_memory" and growing.pid is not None


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
        pids=named_pids(growing.pids),
        owner=growing.owner,
    )


def device_growth_fields(growth: DeviceGrowth) -> dict[str, Any]:
    """Of the rank whose tensors grow most."""
    if not growth.num_judged:
        return {}
    fields: dict[str, Any] = {
        "device_memory_growth_bytes_per_step": 0.0,
        "device_memory_course_steps": growth.num_steps,
    }
    if growth.growing:
        steepest = growth.growing[0]
        fields |= {
            "device_memory_growth_bytes_per_step": steepest.trend.slope,
            "device_memory_growth_steps": (steepest.trend.first, steepest.trend.last),
            "device_memory_growth_of": {
                tensors_name(each): each.trend.slope for each in growth.growing
            },
        }
    return fields


def tensors_name(growing: GrowingTensors) -> str:
    """Whose tensors they are, as a report says it."""
    if growing.pid is None:
        return growing.owner
    name = say("{owner}, process {pid}", owner=growing.owner, pid=growing.pid)
    return name if growing.host is None else say("{name} on {host}", name=name, host=growing.host)
