"""A log that no known program wrote: what was recognised in it, and what would tell more."""

from diagnostics.language import listed, say
from diagnostics.log_recognition import STEP_LINE, LogRecognition
from diagnostics.run import Run, is_of_unknown_program

LITTLE_KNOWN = (
    "the log states {steps}; lines of a known format: {recognised} of {num_lines} ({kinds}); known "
    "are the logs of {families}"
)
NO_STEP = "no step"
FEW_STEPS = "{count} step(s)"
KINDS = {
    STEP_LINE: "steps",
    "stages": "times of stages",
    "phases": "times of phases",
    "progress": "progress bars",
    "memory": "memory",
    "memory_warning": "warnings about memory",
    "oom": "memory that ran out",
    "run_failed": "an error that ended a run",
    "loading_process_died": "a loading process that died",
    "cache": "a cache",
    "cache_item": "a cache",
    "cache_begins": "a cache",
    "checkpoint": "checkpoints",
    "validation": "validations",
    "epoch": "epochs",
    "numerics": "values that are not finite",
    "end": "the end of a run",
    "runtime": "the end of a run",
    "setting": "settings",
    "gpu": "GPUs",
}
OTHER_KIND = "lines without figures"
COUNTED = "{kind}: {count}"


def describe_unknown_log(run: Run) -> str | None:
    """What was and was not recognised; None where the log's program is known, or is not asked."""
    known = run.info.recognition
    if known is None or not is_of_unknown_program(run):
        return None
    stated = known.by_kind.get(STEP_LINE, 0)
    return say(
        LITTLE_KNOWN,
        steps=say(FEW_STEPS, count=stated) if stated else NO_STEP,
        recognised=known.num_recognised,
        num_lines=known.num_lines,
        kinds=listed(_counted(known)),
        families=listed(known.families),
    )


def _counted(known: LogRecognition) -> list[str]:
    counts: dict[str, int] = {}
    for kind, count in known.by_kind.items():
        words = KINDS.get(kind, OTHER_KIND)
        counts[words] = counts.get(words, 0) + count
    return [say(COUNTED, kind=kind, count=count) for kind, count in counts.items()]
