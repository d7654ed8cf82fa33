"""The answer in one or two sentences, with the measured numbers."""

from collections.abc import Sequence

from diagnostics.analyses.ranking import RankedPart
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.report.model import Trust, Verdict
from diagnostics.rules.finding import Finding, Severity

NO_VERDICT = "D"
TRUST_FAMILY = "TR"
TOP_STAGES = 3
ALL_WELL = "Nothing is wrong by the rules that could look."
RECORD_NEXT = (
    "Record next: at least 20 ordinary steps with this trainer, which times a GPU by CUDA events, "
    "and give the facts folder (profiles/<run_id>)."
)


def form_verdict(causes: Sequence[Finding], trust: Trust, analysis: RunAnalysis) -> Verdict:
    """What stopped the run, else doubt, else the finding that costs most, else what is slowest."""
    stopped = [finding for finding in causes if _stops_the_run(finding)]
    if stopped:
        return Verdict(text=_told(stopped[0]), rule=stopped[0].rule)
    if trust.grade == NO_VERDICT:
        doubts = "; ".join(trust.reasons)
        return Verdict(text=f"Cannot judge: {doubts}. {RECORD_NEXT}", judged=False)
    faults = [finding for finding in causes if finding.severity >= Severity.WARN]
    if faults:
        return Verdict(text=_told(faults[0]), rule=faults[0].rule)
    return Verdict(text=f"{ALL_WELL} {_shape(analysis)}".strip())


def _stops_the_run(finding: Finding) -> bool:
    critical = finding.severity is Severity.CRITICAL and finding.cost_ms_per_step is None
    return critical and not finding.rule.startswith(TRUST_FAMILY)


def _told(finding: Finding) -> str:
    first = f" First: {finding.advice[0].text}" if finding.advice else ""
    return f"{finding.summary}{first}"


def _shape(analysis: RunAnalysis) -> str:
    """Where the time of a healthy step goes."""
    parts = []
    step = analysis.breakdown.step
    if step is not None:
        rate = analysis.throughput.samples_per_s
        speed = "" if rate is None else f" ({rate:.2f} samples/s)"
        parts.append(f"A step takes {step.mean_ms:.1f} ms{speed}")
    if analysis.ranking.phases:
        parts.append(f"most of it: {_named(analysis.ranking.phases[0])}")
    text = "; ".join(parts) + "." if parts else ""
    stages = analysis.ranking.stages[:TOP_STAGES]
    if stages:
        text += f" Slowest stages of the forward: {', '.join(map(_named, stages))}."
    return text


def _named(part: RankedPart) -> str:
    return f"{part.name} {part.share:.1%}"
