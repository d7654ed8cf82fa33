"""What the black box wrote down, for a terminal."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from diagnostics.analyses.black_boxes import BlackBoxFile
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import heading, indented
from diagnostics.report.model import Report

MAX_LINES = 10


def black_box_section(report: Report) -> Iterator[RenderableType]:
    """One line for each file, and what else the black box has to say."""
    found = report.analysis.black_boxes
    lines = [_line(each) for each in found.files[:MAX_LINES]]
    if len(found.files) > MAX_LINES:
        lines.append(
            say(
                "and {num_files} more (--json has all of them)",
                num_files=len(found.files) - MAX_LINES,
            )
        )
    for hang in found.ended_hangs:
        waited = units.number(hang.seconds, 1)
        lines.append(
            say(
                "rank {rank}: the standstill at step {step} ended after {waited} s",
                rank=hang.rank,
                step=hang.step,
                waited=waited,
            )
        )
    if found.withheld:
        by_reason = listed(
            say("{why} {count}", why=_said(why), count=count)
            for why, count in found.withheld.items()
        )
        lines.append(say("not written, to bound number and size: {by_reason}", by_reason=by_reason))
    lines += [say("memory snapshot: {file}", file=file) for file in found.memory_snapshots]
    lines += found.memory_snapshots_missing
    if not lines:
        return
    yield heading(say("Black box: {num_files} written", num_files=len(found.files)))
    for line in lines:
        yield indented(line)


def _line(each: BlackBoxFile) -> str:
    step = "" if each.step is None else say(" at step {step}", step=each.step)
    detail = _WORDS[each.reason](each.values) if each.reason in _WORDS else ""
    parts = [
        say(
            "rank {rank}: {said}{step}{detail}",
            rank=each.rank,
            said=_said(each.reason),
            step=step,
            detail=say(": {detail}", detail=detail) if detail else "",
        )
    ]
    if each.where:
        parts.append(say("in {where}", where=each.where))
    parts.append(say("stacks in {file}", file=each.file or "an unnamed file"))
    return listed(parts, "; ")


def _said(reason: str) -> str:
    return _NAMES.get(reason, reason.replace("_", " "))


_NAMES = {"sigterm": "SIGTERM", "request": "asked for", "stuck": "interpreter stuck in C code"}


def _slow_step(values: Mapping[str, Any]) -> str:
    return say(
        "{step_ms} ms, {ratio} x median",
        step_ms=units.ms(_real(values.get("step_ms"))),
        ratio=units.number(_real(values.get("ratio")), 1),
    )


def _hang(values: Mapping[str, Any]) -> str:
    inside = say(" in {span}", span=values["span"]) if values.get("span") else ""
    return say(
        "no step had ended for {waited} s{inside}",
        waited=units.number(_real(values.get("waited_s")), 1),
        inside=inside,
    )


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "slow_step": _slow_step,
    "hang": _hang,
    "out_of_memory": lambda values: say(
        "memory of the {memory}", memory=values.get("memory", "machine or device")
    ),
    "not_finite": lambda values: say("loss is {loss}", loss=values.get("loss", "not finite")),
    "error": lambda values: f"{values.get('type')}: {values.get('text')}",
}
