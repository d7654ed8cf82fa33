"""The report for TensorBoard: text for its text tab and the main figures as scalars."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.report.markdown import to_markdown
from diagnostics.report.model import Report

ENDING = ".vrtspike_report"
TEXT_TAG = "report/diagnosis"


def facts_folder_of(report: Report) -> Path:
    """The run's folder of facts.

    Raises:
        DiagnosticsError: the report was made without one.
    """
    for each in report.inputs:
        if each.kind == "facts folder" and each.status in ("read", "partial"):
            return each.path if each.path.is_dir() else each.path.parent
    raise DiagnosticsError(
        "--tensorboard writes into the facts folder of the run, and none was read; "
        "give profiles/<run_id>"
    )


def write_tensorboard(report: Report, folder: Path, now_unix_s: float) -> Path:
    """Write the report as one event file into `folder`, in place of an earlier report.

    Raises:
        DiagnosticsError: the file cannot be written.
    """
    path = folder / f"events.out.tfevents.{int(now_unix_s)}{ENDING}"
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    earlier = [each for each in folder.glob(f"events.out.tfevents.*{ENDING}") if each != path]
    try:
        _write_events(report, temporary, now_unix_s)
        temporary.replace(path)
    except OSError as error:
        raise DiagnosticsError(
            say("{path}: cannot be written: {strerror}", path=path, strerror=error.strerror)
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    for each in earlier:
        with suppress(OSError):  # an old report that stays is no harm
            each.unlink()
    return path


def _write_events(report: Report, path: Path, now_unix_s: float) -> None:
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    step = last_step(report)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=now_unix_s, file_version="brain.Event:2").SerializeToString())
        for summary in _summaries(report):
            event = Event(wall_time=now_unix_s, step=step, summary=summary)
            writer.write(event.SerializeToString())
        writer.flush()


def last_step(report: Report) -> int:
    """The step that the report is shown at."""
    info = report.info
    known = [point.step for course in report.analysis.memory for point in course.points]
    steps = [int(step) for step in known if step is not None]
    return max([*steps, (info.first_step or 1) - 1 + report.analysis.breakdown.count])


def _summaries(report: Report) -> Iterator[Any]:
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
    from tensorboard.plugins.text.summary_v2 import text_pb  # type: ignore[import-untyped]

    yield text_pb(TEXT_TAG, to_markdown(report))
    for tag, value in scalars(report).items():
        yield Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def scalars(report: Report) -> dict[str, float]:
    """The main figures by tag; what was not measured is left out."""
    breakdown, rate = report.analysis.breakdown, report.analysis.throughput
    named: dict[str, float | None] = {
        "report/step_mean_ms": breakdown.step.mean_ms if breakdown.step else None,
        "report/samples_per_s": rate.samples_per_s,
        "report/data_wait_share": report.window.data_wait_share if report.window else None,
        "report/findings": float(len(report.causes)),
    }
    named |= {f"report/phase_ms/{phase.name}": phase.mean_ms for phase in report.phases}
    named |= {f"report/stage_ms/{row.time.name}": row.time.mean_ms for row in report.slowest}
    return {tag: value for tag, value in named.items() if value is not None}
