"""The report for a terminal, or for a file without any escape sequence."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.step_breakdown import DataAgainstCompute
from diagnostics.report import units
from diagnostics.report.console import (
    SEVERITY_STYLES,
    add_row,
    heading,
    indented,
    line,
    make_console,
    print_parts,
)
from diagnostics.report.console import table as make_table
from diagnostics.report.model import Report
from diagnostics.report.terminal_black_box import black_box_section
from diagnostics.report.terminal_findings import findings_section, not_evaluated_section
from diagnostics.report.terminal_loading import loading_section
from diagnostics.report.terminal_machine import memory_section, quality_section
from diagnostics.report.terminal_ranks import ranks_section
from diagnostics.report.terminal_recorder import recorder_cost_section
from diagnostics.report.terminal_resources import resources_section
from diagnostics.report.terminal_stages import closure_lines, stages_section
from diagnostics.report.terminal_trace import trace_section
from diagnostics.run import Input

GRADES = {"A": "sound", "B": "usable", "C": "rough", "D": "no verdict"}
ENDS = {"": "end unknown", "running": "no end recorded (killed, or still running)"}
MAX_NOTES = 8
MAX_TRACES = 4


def render_terminal(
    report: Report, stream: IO[str], width: int | None = None, color: bool | None = None
) -> None:
    """Print the report; see `make_console` for width and colour."""
    print_parts(make_console(stream, width, color), _parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    yield from _title(report)
    yield from _verdict(report)
    for section in SECTIONS.values():
        yield from section(report)


def _title(report: Report) -> Iterator[RenderableType]:
    info = report.info
    named = f" ({info.name})" if info.name else ""
    yield line(f"Performance of run {info.run_id or '(without a name)'}{named}", "bold")
    yield line(_about(report))
    yield line(f"{_steps_used(report)} | trust {report.trust.grade} ({GRADES[report.trust.grade]})")
    for reason in report.trust.reasons:
        yield indented(f"- {reason}")
    yield from _sources(report)


def title_lines(report: Report) -> Iterator[RenderableType]:
    """What the run was and what was read of it, for a page that shows trust by itself."""
    yield line(_about(report))
    yield line(_steps_used(report))
    yield from _sources(report)


def _about(report: Report) -> str:
    info, breakdown = report.info, report.analysis.breakdown
    name = info.device.get("name")
    device = " ".join(str(word) for word in (report.device, f"({name})" if name else "") if word)
    ranks = f"{info.world_size} rank(s)" if info.world_size else "ranks unknown"
    clock = f"{breakdown.clock or 'unknown'} clock"
    facts = (device or "device unknown", ranks, clock, ENDS.get(info.status or "", info.status))
    return " | ".join(fact for fact in facts if fact)


def _sources(report: Report) -> Iterator[RenderableType]:
    for each in report.inputs:
        yield line(_input(each), "" if each.status == "read" else "yellow")
    yield from _traces(report)


def _steps_used(report: Report) -> str:
    breakdown = report.analysis.breakdown
    by_tag = ", ".join(f"{tag} {count}" for tag, count in breakdown.excluded_by_tag.items())
    if breakdown.is_tagged_included:
        return f"{breakdown.count} step(s) used, all of them tagged ({by_tag})"
    tagged = f" ({by_tag})" if by_tag and breakdown.excluded else ""
    return f"{breakdown.count} step(s) used, {breakdown.excluded} left out{tagged}"


def _input(each: Input) -> str:
    path = os.path.normpath(each.path)  # of a log found beside its facts: without the ".."
    return f"{each.status} {each.kind}: {path}"


def _traces(report: Report) -> Iterator[RenderableType]:
    steps = report.info.profiled_steps
    of = f" of steps {steps[0]} to {steps[1]}" if steps else ""
    for path in report.info.traces[:MAX_TRACES]:
        yield line(f"trace{of}: {path} (opens in ui.perfetto.dev)")
    if len(report.info.traces) > MAX_TRACES:
        yield line(f"and {len(report.info.traces) - MAX_TRACES} more traces beside it")


def _verdict(report: Report) -> Iterator[RenderableType]:
    severities = {finding.rule: finding.severity.label for finding in report.findings}
    style = SEVERITY_STYLES.get(severities.get(report.verdict.rule or "", ""), "bold")
    yield heading("Verdict")
    yield indented(report.verdict.text, style=style)


def _phases(report: Report) -> Iterator[RenderableType]:
    if not report.phases:
        return
    rows = make_table("phase", "mean ms", "median", "p95", "share of step", "steps")
    for phase in report.phases:
        add_row(
            rows,
            phase.name,
            *_times(phase.mean_ms, phase.median_ms, phase.p95_ms),
            units.share(phase.share_of_step),
            str(phase.count),
        )
    step = report.analysis.breakdown.step
    if step is not None:
        times = _times(step.mean_ms, step.median_ms, step.p95_ms)
        add_row(rows, "step", *times, "", str(step.count), style="bold")
    yield heading(f"Phases of the step ({report.phases[0].clock} clock)")
    yield _moved(rows)
    yield from closure_lines(report, "phases of the step")


def _times(*values: float | None) -> tuple[str, ...]:
    return tuple(units.ms(value) for value in values)


def _moved(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, 2))


def _data_against_compute(report: Report) -> Iterator[RenderableType]:
    data = report.analysis.breakdown.data_against_compute
    if data is None:
        return
    rows = make_table("", "mean ms", "share of step")
    for name, value, share in (
        ("wait for data", data.data_wait_ms, data.data_wait_share),
        *_split_of_wait(data),
        ("copy to device", data.h2d_ms, data.h2d_share),
        ("compute", data.compute_ms, data.compute_share),
        ("other", data.other_ms, data.other_share),
    ):
        add_row(rows, name, units.ms(value), units.share(share))
    yield heading("Data against compute")
    yield _moved(rows)


def _split_of_wait(data: DataAgainstCompute) -> tuple[tuple[str, float | None, float | None], ...]:
    """Nothing where the whole wait is exposed, as on a CPU."""
    if data.data_wait_hidden_ms == 0:
        return ()
    return (
        ("  of it exposed", data.data_wait_exposed_ms, data.data_wait_exposed_share),
        ("  of it hidden", data.data_wait_hidden_ms, data.data_wait_hidden_share),
    )


def _throughput(report: Report) -> Iterator[RenderableType]:
    rate = report.analysis.throughput
    if rate.samples_per_s is None and rate.wall_samples_per_s is None:
        return
    yield heading("Throughput")
    yield indented(
        f"{units.number(rate.samples_per_s)} samples/s in ordinary steps, "
        f"{units.number(rate.wall_samples_per_s)} by the wall clock "
        f"({units.number(rate.samples_per_step)} samples a step)."
    )


def _notes(report: Report) -> Iterator[RenderableType]:
    if not report.notes:
        return
    yield heading("Notes")
    yield from _limited(report.notes)


def _limited(notes: Sequence[str]) -> Iterator[RenderableType]:
    for note in notes[:MAX_NOTES]:
        yield indented(f"- {note}")
    if len(notes) > MAX_NOTES:
        yield indented(f"- and {len(notes) - MAX_NOTES} more (--json has all of them)")


SECTIONS: Mapping[str, Callable[[Report], Iterator[RenderableType]]] = {
    "phases": _phases,
    "stages": stages_section,
    "data": _data_against_compute,
    "trace": trace_section,
    "loading": loading_section,
    "ranks": ranks_section,
    "throughput": _throughput,
    "quality": quality_section,
    "memory": memory_section,
    "machine": resources_section,
    "black-box": black_box_section,
    "findings": findings_section,
    "rules": not_evaluated_section,
    "notes": _notes,
    "recorder": recorder_cost_section,
}
"""What stands below the verdict, by a name that other renderers know it by, in its order."""
