"""How far a measurement can be trusted: the worst of several plain questions."""

from collections.abc import Iterable, Iterator

from diagnostics.analyses.audit_doubt import About
from diagnostics.analyses.audit_doubt import Doubt as AuditDoubt
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.analyses.step_breakdown import StepBreakdown
from diagnostics.language import listed, say
from diagnostics.report.audit_words import reason_of
from diagnostics.report.gaps import describe_gaps
from diagnostics.report.model import Device, Grade, Trust
from diagnostics.report.record_next import next_record
from diagnostics.report.unknown_log import describe_unknown_log
from diagnostics.rules.trust.host_clock_on_gpu import DEVICE_PHASES
from diagnostics.rules.trust.phases_do_not_close import PhasesDoNotClose
from diagnostics.rules.trust.too_few_steps import TooFewSteps
from diagnostics.run import TEXT_LOG_ONLY, TRACE_ONLY, Run

Doubt = tuple[Grade, str]

FEW_STEPS = 5
"""Below it a p95 is the maximum: the grade is C."""


def grade_trust(run: Run, analysis: RunAnalysis, device: Device | None) -> Trust:
    """The grade with its reasons: A is facts, the right clock, enough steps, parts that close.

    The doubts about a trace lower the grade of the run only where the trace is all there is.
    """
    audit = analysis.audit
    unknown = describe_unknown_log(run)
    doubts: list[Doubt] = [("D", unknown)] if unknown else [*_doubts(run, analysis, device)]
    of_trace = [*_by_audit(audit.doubts, "trace")]
    is_trace_only = run.evidence == TRACE_ONLY
    counted = [*doubts, *of_trace] if is_trace_only else doubts
    grade = _worst(counted)
    steps = sum(each.num_steps for each in analysis.traces)
    under_profiler: Grade = "C" if 0 < steps < TooFewSteps.at_critical.value else "B"
    trace_grade = grade if is_trace_only else max(under_profiler, _worst(of_trace))
    return Trust(
        grade=grade,
        reasons=tuple(reason for _, reason in [*doubts, *of_trace]),
        trace_grade=trace_grade if analysis.traces else None,
        doubts=audit.doubts,
        passed=audit.passed,
        record_next=None if grade == "A" else next_record(run, audit.doubts, device),
    )


def _doubts(run: Run, analysis: RunAnalysis, device: Device | None) -> Iterator[Doubt]:
    breakdown = analysis.breakdown
    yield from _by_evidence(run)
    yield from _by_steps(breakdown)
    yield from _by_closure(breakdown)
    yield from _by_clock(run, breakdown, device)
    yield from describe_gaps(run)
    yield from _by_audit(analysis.audit.doubts, "steps")


def _worst(doubts: Iterable[Doubt]) -> Grade:
    return max((grade for grade, _ in doubts), default="A")


def _by_audit(found: Iterable[AuditDoubt], about: About) -> Iterator[Doubt]:
    for doubt in found:
        if doubt.about == about:
            yield doubt.grade, reason_of(doubt)


def _by_evidence(run: Run) -> Iterator[Doubt]:
    has_facts = any(each.kind == "facts folder" and each.status != "failed" for each in run.inputs)
    if run.evidence == TEXT_LOG_ONLY and has_facts:
        yield "B", "the facts folder holds no step; what the text log says is used"
    elif run.evidence == TEXT_LOG_ONLY:
        yield "B", "only a text log was read: means over windows of steps, of one rank"
    if run.evidence == TRACE_ONLY:
        yield "B", "every step ran under the profiler, which slows the program down"
    partial = [each.path.name for each in run.inputs if each.status == "partial"]
    if partial:
        yield "B", say("parts of {partial} could not be read", partial=listed(partial))
    failed = [each.path.name for each in run.inputs if each.status == "failed"]
    if failed:
        yield "B", say("{failed} could not be read", failed=listed(failed))


def _by_steps(breakdown: StepBreakdown) -> Iterator[Doubt]:
    count = breakdown.count
    if count < TooFewSteps.at_critical.value:
        yield "D", say("{count} step(s) (is|are) no measurement", count=count)
        return
    if breakdown.is_tagged_included:
        yield "C", "every step carries a tag (first, profiled, ...), so none is an ordinary one"
    if count < FEW_STEPS:
        yield "C", say("only {count} steps", count=count)
    elif count < TooFewSteps.at_note.value:
        yield "B", say("only {count} steps", count=count)


def _by_closure(breakdown: StepBreakdown) -> Iterator[Doubt]:
    """A text log prints step and phases on different lines, over different steps: no closure."""
    if breakdown.is_window_means:
        return
    for closure in breakdown.closures:
        gap = closure.difference_share
        if closure.clock == breakdown.clock and gap >= PhasesDoNotClose.at_warn.value:
            grade: Grade = "D" if gap >= PhasesDoNotClose.at_critical.value else "C"
            yield grade, say("the {name} miss their whole by {gap:.1%}", name=closure.name, gap=gap)


def _by_clock(run: Run, breakdown: StepBreakdown, device: Device | None) -> Iterator[Doubt]:
    if device is None:
        yield "B", "the input does not say what the run trained on"
    clocks = {each.clock for each in breakdown.phases if each.name in DEVICE_PHASES}
    clocks |= {each.clock for each in breakdown.stages}
    on_host = clocks == {"host"}
    if on_host and (device == "cuda" or run.info.is_unsynchronised):
        yield "D", "the times of this GPU run come from the host's clock"
