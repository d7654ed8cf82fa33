"""What rules on traces share: when they cannot look, and how they put what they saw."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Gain, Value
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU
from diagnostics.rules.rule import Outcome, Rule
from diagnostics.rules.trace_measurements import TraceMeasurements

NO_TRACE = "no profiler trace with a step was read"
NO_DEVICE = "the trace holds no work of a device"
NOT_IN_TRACE = "the trace does not show it"
RECORD_TRACE = "train with --profile, and give the trace (*.pt.trace.json.gz)"
RECORD_LOOP = "record some steps with `record(..., profile=True)`, and give the trace"

Row = tuple[str, Value, str, float | None]
"""Metric, value, unit and limit of a piece of evidence."""


class TraceRule(Rule):
    """A rule that looks at traces; its findings are as trustworthy as those are."""

    reads_trace: ClassVar[bool] = True
    on_cpu: ClassVar[bool] = False
    """Has something to say of a trace without work of a device."""

    def check(self, measured: Measurements) -> Outcome:
        """Look at the traces, if there are any with work of a device."""
        trace = measured.in_trace
        if measured.device == "cpu" and not self.on_cpu:
            return self.not_evaluated(NOT_ON_CPU)
        if trace is None or not trace.num_steps:
            return self.not_evaluated(NO_TRACE, record_trace(measured))
        if not trace.has_device and not self.on_cpu:
            return self.not_evaluated(NO_DEVICE)
        return self.look(measured, trace)

    @abstractmethod
    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Judge traces that show steps on a device."""

    def judge_time(
        self,
        trace: TraceMeasurements,
        ms: float | None,
        metric: str,
        values: Mapping[str, Value],
        rows: Sequence[Row],
        advice: Sequence[Advice],
    ) -> Outcome:
        """The finding on a time of each step, graded by its share of the step.

        Args:
            trace: Where it was read.
            ms: The time, which is what the finding costs; None if the trace does not show it.
            metric: What its share of the step is called.
            values: Those of the summary beside `step_ms` and `share`.
            rows: The evidence beside the share.
            advice: What to do about it.
        """
        share = trace.share(ms)
        if share is None:
            return self.not_evaluated(NOT_IN_TRACE)
        severity = self.grade(share)
        if severity is None:
            return None
        return self.finding(
            severity,
            {**values, "step_ms": trace.step_ms, "share": share},
            evidence_of(trace, (metric, share, "share", self.lowest_limit()), *rows),
            tuple(advice),
            cost_ms_per_step=ms,
        )


def record_trace(measured: Measurements) -> str:
    """What to record to get an answer from a trace."""
    return RECORD_LOOP if measured.is_own_loop else RECORD_TRACE


def evidence_of(trace: TraceMeasurements, *rows: Row) -> tuple[Evidence, ...]:
    """The rows as evidence, without those whose value is unknown."""
    return tuple(
        Evidence(metric=metric, value=value, unit=unit, limit=limit, source=trace.source)
        for metric, value, unit, limit in rows
        if value is not None and value != ""
    )


def most_idle_in(trace: TraceMeasurements, cause: str) -> Row:
    """The operator or the line behind most idle time of the cause, where the trace tells."""
    return "most of it in", trace.idle_where.get(cause, ""), "", None


def up_to(cost_ms: float) -> Gain:
    """At most the whole cost; nothing, if something else would hold the step up as long."""
    return Gain(low_ms=0.0, mid_ms=None, high_ms=cost_ms)


def advise(text: str, sign: str, cost_ms: float | None = None) -> Advice:
    """An advice without a switch that the report knows, with the sign to look for in a new trace.

    Args:
        text: What to do.
        sign: What the next trace shows if it helped.
        cost_ms: The most it can save, in ms per step; None if that is not known.
    """
    return Advice(
        text=text,
        predicted_gain=None if cost_ms is None else up_to(cost_ms),
        verify=say(VERIFY, sign=sign),
    )


VERIFY = "record a trace again, `python analyze_performance.py TRACE`: {sign}"
