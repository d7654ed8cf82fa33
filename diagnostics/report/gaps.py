"""What the recorder says it lost, in sentences: part of how far a report can be trusted."""

from collections.abc import Iterator, Mapping
from typing import Any

from diagnostics.language import say
from diagnostics.report.model import Grade
from diagnostics.run import Run


def describe_gaps(run: Run) -> Iterator[tuple[Grade, str]]:
    """One sentence for each kind of loss, with the grade that it still allows."""
    if run.info.lost_lines:
        yield (
            "B",
            say(
                "{lost_lines} line(s) of rank 0's facts could not be written",
                lost_lines=run.info.lost_lines,
            ),
        )
    for rank, values in _events(run, "lines_lost"):
        yield (
            "B",
            say(
                "{count} line(s) of rank {rank}'s facts could not be written",
                count=_count(values, "lines"),
                rank=rank,
            ),
        )
    for rank, values in _events(run, "device_times_lost"):
        yield (
            "B",
            say(
                "the device times of the last {count} step(s) of rank {rank} are lost{because}",
                count=_count(values, "steps"),
                rank=rank,
                because=_because(values),
            ),
        )
    for _, values in _events(run, "resource_sampler_died"):
        code = _count(values, "exit_code")
        yield (
            "B",
            say(
                "the resource sampler died (exit code {code}): later samples are missing", code=code
            ),
        )
    for rank, values in _events(run, "profile_missing"):
        yield (
            "A",
            say(
                "the profiler's trace of rank {rank} is missing{because}",
                rank=rank,
                because=_because(values),
            ),
        )


def _events(run: Run, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    events = run.tables.events
    held = events[events["name"] == name]
    yield from zip(held["rank"].astype(int), held["values"], strict=True)


def _count(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return f"{value:g}" if isinstance(value, int | float) else "unknown"


def _because(values: Mapping[str, Any]) -> str:
    reason = values.get("reason")
    if not isinstance(reason, str) or not reason:
        return ""
    return say(" ({reason})", reason=reason.removeprefix("no trace: "))
