"""The audit of one trace: is everything there, in order, and from one clock?"""

import re

import numpy as np

from diagnostics.analyses.audit_doubt import Audit, Auditor
from diagnostics.analyses.audit_kernels import kernel_times
from diagnostics.analyses.audit_limits import TRACE_LIMITS
from diagnostics.analyses.audit_overlaps import device_overlap_share, host_overlap_share
from diagnostics.analyses.audit_warm_up import warm_up
from diagnostics.analyses.intervals import Intervals, Timeline, union
from diagnostics.analyses.step_sections import HOST_SPANS
from diagnostics.analyses.trace_launches import find_launches
from diagnostics.analyses.trace_names import PROFILER_STEP
from diagnostics.analyses.trace_rows import begins_in, chosen, chunks, rows_in
from diagnostics.analyses.trace_steps import TraceSteps
from diagnostics.trace import Events, Kind, Trace

OVERLAP_SHARE = 0.01
"""Marks touch to the microsecond; an overlap beyond this share of a step is none."""
HOST_KINDS: tuple[Kind, ...] = ("op", "span", "runtime", "python")
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
    if not len(trace.events["kernel"]):
        return
    _dropped(auditor, trace, steps)
    count, unknown, early, worst_ns = 0, 0, 0, 0
    spent_ns, nameless_ns = 0, 0
    for chunk in chunks(trace.events["kernel"]):
        kernels = rows_in(chunk, steps.window)
        launches = find_launches(trace, kernels)
        early_ns = (launches.start_ns - kernels["start_ns"])[launches.is_known]
        count += len(kernels)
        unknown += int((~launches.is_known).sum())
        early += int((early_ns > CLOCK_TOLERANCE_NS).sum())
        worst_ns = max(worst_ns, int(early_ns.max(initial=0)))
        times = kernel_times(trace, kernels)
        spent_ns, nameless_ns = spent_ns + times[0], nameless_ns + times[1]
    if not count:
        return
    auditor.judge("launches_missing", unknown / count, kernels=unknown)
    if count > unknown:
        share = early / (count - unknown)
        auditor.judge("kernels_before_launch", share, worst_us=worst_ns / 1e3)
    if spent_ns:
        auditor.judge("unknown_kernels", nameless_ns / spent_ns)


def _dropped(auditor: Auditor, trace: Trace, steps: TraceSteps) -> None:
    """Launches of kernels in the steps for which the trace has no kernel, whole or by step."""
    lost_of, all_of = np.zeros(len(steps)), np.zeros(len(steps))
    kernels = np.sort(trace.events["kernel"]["correlation"])
    for chunk in chunks(trace.events["runtime"]):
        calls = chosen(chunk, trace.named(LAUNCH))
        step = np.searchsorted(steps.start_ns, calls["start_ns"], side="right") - 1
        inside = (step >= 0) & (calls["start_ns"] < steps.host_end_ns[np.maximum(step, 0)])
        inside &= calls["correlation"] >= 0
        calls, step = calls[inside], step[inside]
        if len(calls):
            wanted = calls["correlation"]
            place = np.minimum(np.searchsorted(kernels, wanted), len(kernels) - 1)
            lost = kernels[place] != wanted
            lost_of += np.bincount(step, weights=lost, minlength=len(steps))
            all_of += np.bincount(step, minlength=len(steps))
    if not all_of.sum():
        return
    worst = int(np.argmax(lost_of / np.maximum(all_of, 1)))
    auditor.judge(
        "device_events_dropped",
        float(lost_of.sum() / all_of.sum()),
        launches=int(lost_of.sum()),
        worst_step=int(steps.numbers[worst]),
        worst_share=float(lost_of[worst] / max(all_of[worst], 1)),
    )


def _overhead(auditor: Auditor, trace: Trace, window: Intervals) -> None:
    """By the profiler's own events where it writes them, else estimated from the number of all."""
    own = trace.events["overhead"]
    if len(own):
        line = Timeline.of([window, union(own["start_ns"], own["end_ns"])])
        spent = line.total_ns(line.covered(0) & line.covered(1))
        auditor.judge("profiler_overhead", spent / window.total_ns)
        return
    count = sum(
        int(begins_in(chunk, window).sum())
        for kind in HOST_KINDS
        for chunk in chunks(trace.events[kind])
    )
    share = count * EVENT_COST_US * 1e3 / window.total_ns
    auditor.judge("profiler_events", share, events=count)


def _warm_up(auditor: Auditor, steps: TraceSteps) -> None:
    found = warm_up((steps.end_ns - steps.begin_ns) / 1e6)
    if found is not None:
        auditor.judge(
            "warm_up_inside", found.added_share, steps=found.num_steps, ratio=found.first_ratio
        )
