"""The audit of one trace: is everything there, in order, and from one clock?"""

import re

import numpy as np

from diagnostics.analyses.audit_doubt import Audit, Auditor
from diagnostics.analyses.audit_kernels import unknown_kernel_share
from diagnostics.analyses.audit_limits import TRACE_LIMITS
from diagnostics.analyses.audit_overlaps import device_overlap_share, host_overlap_share
from diagnostics.analyses.audit_warm_up import warm_up
from diagnostics.analyses.intervals import Intervals, Timeline, union
from diagnostics.analyses.step_habits import within
from diagnostics.analyses.step_sections import HOST_SPANS
from diagnostics.analyses.trace_launches import find_launches
from diagnostics.analyses.trace_names import PROFILER_STEP
from diagnostics.analyses.trace_rows import chosen
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import KINDS, Events, Trace

OVERLAP_SHARE = 0.01
"""Marks touch to the microsecond; an overlap beyond this share of a step is none."""
MAX_DIGITS = 17
"""A longer number of a step is none."""
CLOCK_TOLERANCE_NS = 1_000
"""Old traces count whole microseconds."""
EVENT_COST_US = 0.3
"""What recording an event costs within a step (own measurement, torch 2.13 on a CPU)."""

LAUNCH = re.compile(r"^(cuda|hip)(ExtModule|Module|Ext)?LaunchKernel|^cuLaunchKernel")
"""Calls that launch exactly one kernel each; a graph launches many."""


def audit_trace(trace: Trace, steps: TraceSteps) -> Audit:
    """Every check of a trace; those that need steps or a device are left out without them."""
    auditor = Auditor("trace", trace.path.name, TRACE_LIMITS)
    _step_marks(auditor, trace, steps)
    window = steps.window
    if window.total_ns:
        _device_work(auditor, trace, steps)
        _overhead(auditor, trace, window)
        _warm_up(auditor, steps)
    auditor.judge("host_spans_overlap", host_overlap_share(trace))
    auditor.judge("device_spans_overlap", device_overlap_share(trace))
    return auditor.audit()


def _step_marks(auditor: Auditor, trace: Trace, steps: TraceSteps) -> None:
    """The marks as they stand in the file: those inside others are no steps of their own."""
    if steps.mark != "ProfilerStep" or not len(steps):
        return
    marks = _marks_on(trace, steps.track)
    numbers = np.array([_number(trace.names[name]) for name in marks["name"].tolist()])
    if not len(numbers) or (numbers < 0).any():
        return
    distinct = np.unique(numbers)
    expected = int(distinct[-1] - distinct[0]) + 1
    missing = expected - len(distinct)
    auditor.judge("step_marks_missing", missing / expected, missing=missing, expected=expected)
    lengths = np.maximum(marks["end_ns"] - marks["start_ns"], 1)[:-1]
    overlap = marks["end_ns"][:-1] - marks["start_ns"][1:]
    doubled = max(len(marks) - len(distinct), int((overlap > OVERLAP_SHARE * lengths).sum()))
    auditor.judge("step_marks_doubled", doubled / len(marks), doubled=doubled, steps=len(marks))


def _marks_on(trace: Trace, track: int) -> Events:
    """From the kind that has them: old traces have none for ranges of the program."""
    names = trace.named(PROFILER_STEP)
    for kind in HOST_SPANS:
        marks = chosen(trace.events[kind], names)
        marks = marks[marks["track"] == track]
        if len(marks):
            break
    return marks


def _number(name: str) -> int:
    found = PROFILER_STEP.match(name)
    return int(found[1]) if found and len(found[1]) <= MAX_DIGITS else -1


def _device_work(auditor: Auditor, trace: Trace, steps: TraceSteps) -> None:
    kernels = trace.events["kernel"]
    if not len(kernels):
        return
    kernels = kernels[within(kernels["start_ns"], steps.window)]
    _dropped(auditor, trace, steps)
    if not len(kernels):
        return
    launches = find_launches(trace, kernels)
    known = launches.is_known
    auditor.judge("launches_missing", float(np.mean(~known)), kernels=int((~known).sum()))
    if known.any():
        early_ns = (launches.start_ns - kernels["start_ns"])[known]
        early = early_ns > CLOCK_TOLERANCE_NS
        worst_us = float(early_ns.max()) / 1e3
        share = float(np.mean(early))
        auditor.judge("kernels_before_launch", share, worst_us=max(worst_us, 0.0))
    auditor.judge("unknown_kernels", unknown_kernel_share(trace, kernels))


def _dropped(auditor: Auditor, trace: Trace, steps: TraceSteps) -> None:
    """Launches of kernels in the steps for which the trace has no kernel, whole or by step."""
    calls = _kernel_launches(trace)
    step = np.searchsorted(steps.start_ns, calls["start_ns"], side="right") - 1
    inside = (step >= 0) & (calls["start_ns"] < steps.host_end_ns[np.maximum(step, 0)])
    calls, step = calls[inside], step[inside]
    if not len(calls):
        return
    lost = ~np.isin(calls["correlation"], trace.events["kernel"]["correlation"])
    by_step = np.bincount(step, weights=lost, minlength=len(steps))
    of_step = np.maximum(np.bincount(step, minlength=len(steps)), 1)
    worst = int(np.argmax(by_step / of_step))
    auditor.judge(
        "device_events_dropped",
        float(np.mean(lost)),
        launches=int(lost.sum()),
        worst_step=int(steps.numbers[worst]),
        worst_share=float(by_step[worst] / of_step[worst]),
    )


def _kernel_launches(trace: Trace) -> Events:
    calls = trace.events["runtime"]
    launching = calls[np.isin(calls["name"], trace.named(LAUNCH))]
    chosen: Events = launching[launching["correlation"] >= 0]
    return chosen


def _overhead(auditor: Auditor, trace: Trace, window: Intervals) -> None:
    """By the profiler's own events where it writes them, else estimated from the number of all."""
    own = trace.events["overhead"]
    if len(own):
        line = Timeline.of([window, union(own["start_ns"], own["end_ns"])])
        spent = line.total_ns(line.covered(0) & line.covered(1))
        auditor.judge("profiler_overhead", spent / window.total_ns)
        return
    count = sum(
        int(within(trace.events[kind]["start_ns"], window).sum())
        for kind in KINDS
        if kind in {"op", "span", "runtime", "python"}
    )
    share = count * EVENT_COST_US * 1e3 / window.total_ns
    auditor.judge("profiler_events", share, events=count)


def _warm_up(auditor: Auditor, steps: TraceSteps) -> None:
    found = warm_up((steps.end_ns - steps.begin_ns) / 1e6)
    if found is not None:
        auditor.judge(
            "warm_up_inside", found.added_share, steps=found.num_steps, ratio=found.first_ratio
        )
