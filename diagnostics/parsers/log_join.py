"""Two logs of one run: the original trainer wrote its stage times into a file of their own."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from diagnostics.parsers.log_windows import tags_after
from diagnostics.parsers.text_log import TextLog


def join_logs(one: TextLog, other: TextLog) -> TextLog | None:
    """The run's log with the stages of its timing log; None if the two are not such a pair.

    A timing log counts optimizer steps since the start of the process, as an unresumed run does.
    """
    for log, timing in ((one, other), (other, one)):
        is_timing = timing.is_unsynchronised and not len(timing.tables.log_steps)
        if is_timing and not len(log.tables.stages) and not log.run_fields:
            return _joined(log, timing)
    return None


def timing_log_of(log: TextLog) -> Path | None:
    """The timing log that the log names, if it lies beside it."""
    if log.timing_log is None or "\0" in log.timing_log:
        return None
    beside = log.path.parent / PurePosixPath(log.timing_log).name
    try:
        return beside if beside.is_file() and beside.resolve() != log.path.resolve() else None
    except OSError:
        return None


def _joined(log: TextLog, timing: TextLog) -> TextLog:
    tables, timed = log.tables, timing.tables
    tagged = list(tags_after(tables.spans))
    phases = timed.phases.assign(
        is_tagged=timed.phases["is_tagged"] | timed.phases["step"].isin(tagged)
    )
    stages = timed.stages.assign(
        is_tagged=timed.stages["is_tagged"] | timed.stages["step"].isin(tagged)
    )
    steps = tables.steps if len(tables.steps) else timed.steps
    return replace(
        log,
        clock=timing.clock,
        tables=replace(tables, phases=phases, stages=stages, steps=steps.assign(micro_batches=1.0)),
        num_lines=log.num_lines + timing.num_lines,
        num_recognised=log.num_recognised + timing.num_recognised,
        notes=(*log.notes, *(f"{timing.path.name}: {note}" for note in timing.notes)),
        is_unsynchronised=True,
        recognition=None,
    )
