"""What the black box wrote down, for a terminal."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from diagnostics.analyses.black_boxes import BlackBoxFile
from diagnostics.report import units
from diagnostics.report.console import heading, indented
from diagnostics.report.model import Report

MAX_LINES = 10


def black_box_section(report: Report) -> Iterator[RenderableType]:
    """One line for each file, and what else the black box has to say."""
    found = report.analysis.black_boxes
    lines = [_line(each) for each in found.files[:MAX_LINES]]
    if len(found.files) > MAX_LINES:
        lines.append(f"and {len(found.files) - MAX_LINES} more (--json has all of them)")
    for hang in found.ended_hangs:
        waited = units.number(hang.seconds, 1)
        lines.append(f"rank {hang.rank}: the standstill at step {hang.step} ended after {waited} s")
    if found.withheld:
        by_reason = ", ".join(f"{_said(why)} {count}" for why, count in found.withheld.items())
        lines.append(f"not written, to bound number and size: {by_reason}")
    lines += [f"memory snapshot: {file}" for file in found.memory_snapshots]
    lines += found.memory_snapshots_missing
    if not lines:
        return
    yield heading(f"Black box: {len(found.files)} written")
    for line in lines:
        yield indented(line)


def _line(each: BlackBoxFile) -> str:
    step = "" if each.step is None else f" at step {each.step}"
    detail = _WORDS[each.reason](each.values) if each.reason in _WORDS else ""
    parts = [f"rank {each.rank}: {_said(each.reason)}{step}{': ' if detail else ''}{detail}"]
    if each.where:
        parts.append(f"in {each.where}")
    parts.append(f"stacks in {each.file or 'an unnamed file'}")
    return "; ".join(parts)


def _said(reason: str) -> str:
    return _NAMES.get(reason, reason.replace("_", " "))


_NAMES = {"sigterm": "SIGTERM", "request": "asked for", "stuck": "interpreter stuck in C code"}


def _slow_step(values: Mapping[str, Any]) -> str:
    return (
        f"{units.ms(_real(values.get('step_ms')))} ms, "
        f"{units.number(_real(values.get('ratio')), 1)} x median"
    )


def _hang(values: Mapping[str, Any]) -> str:
    inside = f" in {values['span']}" if values.get("span") else ""
    return f"no step had ended for {units.number(_real(values.get('waited_s')), 1)} s{inside}"


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "slow_step": _slow_step,
    "hang": _hang,
    "out_of_memory": lambda values: f"memory of the {values.get('memory', 'machine or device')}",
    "not_finite": lambda values: f"loss is {values.get('loss', 'not finite')}",
    "error": lambda values: f"{values.get('type')}: {values.get('text')}",
}
