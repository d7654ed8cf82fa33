"""The answer in one or two sentences, with the measured numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from diagnostics.analyses.ranking import RankedPart
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.ending import describe_end
from diagnostics.report.kill_words import describe_kill
from diagnostics.report.model import Device, Trust, Verdict
from diagnostics.rules.finding import Finding, Severity
from diagnostics.rules.trust.too_few_steps import TooFewSteps

NO_VERDICT = "D"
ROUGH = "C"
TRUST_FAMILY = "TR"
TOP_STAGES = 3
ALL_WELL = "Nothing is wrong by the rules that could look."
NO_HEALTH = "No rule that could look found a fault, but {doubts}."
CANNOT_JUDGE = "Cannot judge: {doubts}. {record_next}"
LIKELY = "Likely, but the measurement is rough ({doubts}): {told}"
START_AGAIN = (
    "Nothing was measured: train again, or give the folder of another run (profiles/<run_id>)."
)

_WHOLES = {"forward": "the forward", "forward and backward": "forward and backward together"}


def form_verdict(
    causes: Sequence[Finding], trust: Trust, analysis: RunAnalysis, device: Device | None
) -> Verdict:
    """How the run ended if not well; what stopped it, else doubt, else what costs most or is slow.

    The end comes first: whatever else is true of a failed run, its error is what to act on.
    """
    judged = _judge(causes, trust, analysis, device)
    ending = _ending(analysis)
    if ending is None:
        return judged
    if analysis.end.last_step is None and not judged.judged:
        return replace(judged, text=listed([ending, START_AGAIN], " "))
    return replace(judged, text=listed([ending, judged.text], " "))


def _ending(analysis: RunAnalysis) -> str | None:
    """How the run ended if not well; of a process that was lost, where no finding says why."""
    kill = analysis.kill
    if (told := describe_end(analysis.end)) is not None:
        return told
    if kill is None or kill.killer not in ("not_oom_killer", "unknown"):
        return None
    return describe_kill(kill)


def _judge(
    causes: Sequence[Finding], trust: Trust, analysis: RunAnalysis, device: Device | None
) -> Verdict:
    stopped = [finding for finding in causes if _stops_the_run(finding)]
    if stopped:
        return Verdict(text=_told(stopped[0]), rule=stopped[0].rule)
    if trust.grade == NO_VERDICT:
        text = say(
            CANNOT_JUDGE, doubts=listed(trust.reasons, "; "), record_next=trust.record_next or ""
        )
        return Verdict(text=text, judged=False)
    faults = [finding for finding in causes if finding.severity >= Severity.WARN]
    if faults:
        told = _told(faults[0])
        if trust.grade == ROUGH:
            told = say(LIKELY, doubts=listed(trust.reasons, "; "), told=told)
        return Verdict(text=told, rule=faults[0].rule)
    return Verdict(text=listed(filter(None, [_health(analysis), *_shape(analysis)]), " "))


def _health(analysis: RunAnalysis) -> str:
    """No fault is no health: too few steps, or an output worse than its input, are said with it."""
    doubts = []
    count, few = analysis.breakdown.count, TooFewSteps.at_note.value
    if count < few:
        doubts.append(
            say(
                "{count} ordinary step(s) (is|are) too few to call the run healthy (at least "
                "{few:.0f})",
                count=count,
                few=few,
            )
        )
    last = analysis.quality.last
    if last is not None and last.gain_db is not None and last.gain_db < 0:
        doubts.append(
            say(
                "the output is not sharper than its blurry input yet ({psnr_rgb_db:.2f} "
                "against {input_psnr_rgb_db:.2f} dB PSNR after step {step}): train on",
                psnr_rgb_db=last.psnr_rgb_db,
                input_psnr_rgb_db=last.input_psnr_rgb_db,
                step=last.step,
            )
        )
    if doubts:
        return say(NO_HEALTH, doubts=listed(doubts, "; "))
    return ALL_WELL if _ending(analysis) is None else ""


def _stops_the_run(finding: Finding) -> bool:
    critical = finding.severity is Severity.CRITICAL and finding.cost_ms_per_step is None
    return critical and not finding.rule.startswith(TRUST_FAMILY)


def _told(finding: Finding) -> str:
    first = [say("First: {text}", text=each.text) for each in finding.advice[:1]]
    return listed([finding.summary, *first], " ")


def _shape(analysis: RunAnalysis) -> Iterator[str]:
    """Where the time of a healthy step goes."""
    parts = []
    step = analysis.breakdown.step
    if step is not None:
        rate = analysis.throughput.samples_per_s
        speed = "" if rate is None else say(" ({rate} samples/s)", rate=units.rate(rate))
        parts.append(say("A step takes {mean_ms:.1f} ms{speed}", mean_ms=step.mean_ms, speed=speed))
    if analysis.ranking.phases:
        parts.append(say("most of it: {named}", named=_named(analysis.ranking.phases[0])))
    if parts:
        yield say("{parts}.", parts=listed(parts, "; "))
    stages = analysis.ranking.stages[:TOP_STAGES]
    if stages:
        yield say(
            "Slowest stages of {whole}: {stages}.",
            whole=_WHOLES[analysis.ranking.stages_whole],
            stages=listed(map(_named, stages)),
        )


def _named(part: RankedPart) -> str:
    return say("{part} {share:.1%}", part=part.name, share=part.share)
