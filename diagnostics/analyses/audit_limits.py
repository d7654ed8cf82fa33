"""The limits of the audit, with the reason for each; `docs/trust.md` lists them."""

from collections.abc import Mapping

from diagnostics.analyses.audit_doubt import Limits

TRACE_LIMITS: Mapping[str, Limits] = {
    # One step that is not there shifts no mean; many of them are another run than was recorded.
    "step_marks_missing": {"B": 0.001, "C": 0.20},
    # A step counted twice, or two that overlap, falsifies every time per step.
    "step_marks_doubled": {"C": 0.001, "D": 0.50},
    # The idle share is too large by about as much: as large as the limits of rules at D.
    "device_events_dropped": {"B": 0.01, "C": 0.05, "D": 0.20},
    # Work without its launch counts, but cannot be laid to an operator or to a step.
    "launches_missing": {"B": 0.05, "C": 0.50},
    # Time stamps of microseconds overlap by one; more is a broken nesting (pytorch#174555).
    "host_spans_overlap": {"B": 0.001, "C": 0.01},
    # Work on one stream runs in order; overlong events make kernels longer (TraceLens#669).
    "device_spans_overlap": {"B": 0.001, "C": 0.01},
    # The clocks of host and device do not agree; idle time is then laid to the wrong call.
    "kernels_before_launch": {"B": 0.001, "C": 0.01, "D": 0.10},
    # What the tables of names do not know is neither compute nor communication for certain.
    "unknown_kernels": {"B": 0.20, "C": 0.50},
    # The profiler's own time lies within the steps.
    "profiler_overhead": {"B": 0.02, "C": 0.10},
    # The same as estimated from 0.3 us for each event, where the trace does not tell.
    "profiler_events": {"B": 0.10, "C": 0.30},
    # What slow first steps add to the mean of a step.
    "warm_up_inside": {"B": 0.05, "C": 0.20},
    # A run on a GPU whose trace shows none: nothing about the device can be said.
    "device_missing": {"D": 1.0},
    # Ranks of different length are compared over what they have in common.
    "ranks_differ": {"B": 0.001, "C": 0.50},
    # Steps in the trace against the same steps as the recorder timed them.
    "trace_against_facts": {"B": 0.10, "C": 0.30},
}

STEP_LIMITS: Mapping[str, Limits] = {
    "steps_missing": {"B": 0.001, "C": 0.10},
    "steps_doubled": {"B": 0.001, "C": 0.10},
    # Durations come from a clock that never steps; what is laid side by side by time does not.
    "clock_stepped": {"B": 0.1},
    "log_against_facts": {"B": 0.05, "C": 0.20},
    "ranks_missing": {"B": 0.001, "C": 0.50},
    "end_missing": {"B": 1.0},
    "warm_up_inside": {"B": 0.05, "C": 0.20},
    # The recorder's budget is 0.5 % of a step; ten times as much bends the shares of phases.
    "recorder_overhead": {"B": 0.05, "C": 0.20},
}
