"""What to record so that a verdict can be given, with the command that records it."""

from collections.abc import Sequence

from diagnostics.analyses.audit_doubt import Doubt
from diagnostics.analyses.launch import launch_of
from diagnostics.language import say
from diagnostics.report.audit_words import LONGER, TRACE_AGAIN, WORDS
from diagnostics.report.model import Device
from diagnostics.rules.launch_command import configuration_words
from diagnostics.run import OUR_LOGS, TEXT_LOG_ONLY, TRACE_ONLY, Run, is_of_unknown_program

RECORD_NEXT = "Record next: {what}, with {command}; then `python analyze_performance.py`."
STEPS_COMMAND = "`python -m vrtspike.train --config {config}`"
TRACE_COMMAND = "`python -m vrtspike.train --config {config} --profile --profile-steps 10`"
LOOP_COMMAND = "`vrtspike.profiling.record` around your loop (docs/any-trainer.md)"
LOOP_TRACE_COMMAND = "`record(..., profile=True)` around your loop (docs/any-trainer.md)"
ANY_TRACE_COMMAND = (
    "`torch.profiler.schedule(wait=1, warmup=3, active=10)`, or `record(..., profile=True)` around "
    "your loop (docs/any-trainer.md)"
)
BY_ITS_CLOCK = "at least 20 ordinary steps timed by the GPU's own clock"


def next_record(run: Run, doubts: Sequence[Doubt], device: Device | None) -> str:
    """What would lift the worst doubt, or more of what there is where the audit has none."""
    is_trace = run.evidence == TRACE_ONLY
    is_any_device = device == "cpu" or is_of_unknown_program(run)
    default = TRACE_AGAIN if is_trace else LONGER if is_any_device else BY_ITS_CLOCK
    about = "trace" if is_trace else "steps"
    counted = [doubt for doubt in doubts if is_trace or doubt.about == about]
    worst = max(counted, key=lambda doubt: doubt.grade, default=None)
    serious = worst is not None and worst.grade >= "C"
    what = WORDS[worst.check].record_next if worst is not None and serious else default
    return say(RECORD_NEXT, what=what, command=_command(run, is_trace=is_trace))


def _command(run: Run, *, is_trace: bool) -> str:
    if run.info.trainer == "own" or _is_of_others(run):
        return LOOP_TRACE_COMMAND if is_trace else LOOP_COMMAND
    if is_trace:
        return _of_ours(TRACE_COMMAND, run) if run.info.trainer == "vrtspike" else ANY_TRACE_COMMAND
    return _of_ours(STEPS_COMMAND, run)


def _of_ours(command: str, run: Run) -> str:
    return say(command, config=configuration_words(launch_of(run.info.argv)))


def _is_of_others(run: Run) -> bool:
    """A log that no trainer of ours wrote, and nothing else."""
    if run.evidence != TEXT_LOG_ONLY or run.info.config:
        return False
    family = run.info.log_family
    return is_of_unknown_program(run) or (family is not None and family not in OUR_LOGS)
