"""Parts of a step that PyTorch names itself: the optimizer's update, the clearing of gradients."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, Timeline, union
from diagnostics.analyses.trace_launches import find_launches
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import Events, Kind, Trace

SectionName = Literal["optimizer", "zero_grad"]
_SECTIONS: Mapping[SectionName, re.Pattern[str]] = {
    "optimizer": re.compile(r"^Optimizer\.step#"),
    "zero_grad": re.compile(r"^Optimizer\.zero_grad#"),
}
_FUSED = re.compile(r"multi_tensor_apply|fused_?(adam|sgd|lamb)", re.IGNORECASE)
HOST_SPANS: tuple[Kind, ...] = ("span", "op")


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part, per step.

    `launches` counts the kernels and memsets that it launches, `device_ms` is how long they run,
    `idle_ms` how long the device is idle from their first to their last, and while the program is
    in the part. `fused_share` counts kernels that work on many tensors at once.
    """

    launches: float
    device_ms: float
    idle_ms: float
    fused_share: float


def sections_of(
    trace: Trace, steps: TraceSteps, kernels: Events, gaps: Intervals
) -> dict[SectionName, Section | None]:
    """The parts that the trace names.

    Args:
        trace: The trace.
        steps: Its steps.
        kernels: Those that run in the steps.
        gaps: When the device is idle in the steps.
    """
    memsets = trace.events["memset"]
    launched = [(kernels, find_launches(trace, kernels).start_ns)]
    launched.append((memsets, find_launches(trace, memsets).start_ns))
    return {
        name: _section(trace, steps, _spans(trace, steps, pattern), launched, gaps)
        for name, pattern in _SECTIONS.items()
    }


def _spans(trace: Trace, steps: TraceSteps, pattern: re.Pattern[str]) -> Intervals:
    """The spans of the program that begin in a step."""
    names = [number for number, name in enumerate(trace.names) if pattern.search(name)]
    for kind in HOST_SPANS:
        events = trace.events[kind]
        found = events[np.isin(events["name"], names)]
        found = found[_begins_in(found["start_ns"], steps)]
        if len(found):
            return union(found["start_ns"], found["end_ns"])
    return union(np.empty(0, np.int64), np.empty(0, np.int64))


def _begins_in(at_ns: Array, steps: TraceSteps) -> Array:
    place = np.searchsorted(steps.start_ns, at_ns, side="right") - 1
    inside: Array = (place >= 0) & (at_ns < steps.host_end_ns[np.maximum(place, 0)])
    return inside


def _section(
    trace: Trace,
    steps: TraceSteps,
    spans: Intervals,
    launched: list[tuple[Events, Array]],
    gaps: Intervals,
) -> Section | None:
    if not len(spans):
        return None
    count, fused, device_ns = 0, 0, 0
    first, last = spans.start.copy(), spans.end.copy()
    for work, at_ns in launched:
        place = np.searchsorted(spans.start, at_ns, side="right") - 1
        own = (place >= 0) & (at_ns < spans.end[np.maximum(place, 0)])
        place, work = place[own], work[own]
        np.maximum.at(last, place, work["end_ns"])
        count += len(work)
        device_ns += int((work["end_ns"] - work["start_ns"]).sum())
        fused += int(np.isin(work["name"], _fused(trace)).sum())
    line = Timeline.of([union(first, last), gaps])
    idle_ns = line.total_ns(line.covered(0) & line.covered(1))
    return Section(
        launches=count / len(steps),
        device_ms=device_ns / 1e6 / len(steps),
        idle_ms=idle_ns / 1e6 / len(steps),
        fused_share=fused / count if count else 0.0,
    )


def _fused(trace: Trace) -> Array:
    fits = [number for number, name in enumerate(trace.names) if _FUSED.search(name)]
    return np.array(fits, np.int64)
