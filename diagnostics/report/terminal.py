"""The report for a terminal, or for a file without any escape sequence."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.step_breakdown import DataAgainstCompute
from diagnostics.language import listed, say
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
from diagnostics.report.failure_words import failure_section
from diagnostics.report.kill_words import NO_END, status_of
from diagnostics.report.model import Report
from diagnostics.report.terminal_bases import basis_lines, without_bases
from diagnostics.report.terminal_black_box import black_box_section
from diagnostics.report.terminal_checklist import checklist_section
from diagnostics.report.terminal_comparison import comparison_section
from diagnostics.report.terminal_findings import findings_section, not_evaluated_section
from diagnostics.report.terminal_kill import kill_section
from diagnostics.report.terminal_loading import loading_section
from diagnostics.report.terminal_machine import memory_section, quality_section
from diagnostics.report.terminal_plans import plans_section
from diagnostics.report.terminal_ranks import ranks_section
from diagnostics.report.terminal_recorder import recorder_cost_section
from diagnostics.report.terminal_resources import resources_section
from diagnostics.report.terminal_stages import closure_lines, stages_section
from diagnostics.report.terminal_trace import trace_section
from diagnostics.report.terminal_trust import trust_lines
from diagnostics.report.trace_phase_words import phase_notes
from diagnostics.run import Input

GRADES = {"A": "sound", "B": "usable", "C": "rough", "D": "no verdict"}
MAX_NOTES = 8
MAX_TRACES = 4


def render_terminal(
    report: Report, stream: IO[str], width: int | None = None, color: bool | None = None
) -> None:
    """Print the report; see `make_console` for width and colour."""
    print_parts(make_console(stream, width, color), _parts(report))


def render_checklist(
    report: Report, stream: IO[str], width: int | None = None, color: bool | None = None
) -> None:
    """Print the checklist alone, below what it is about."""
    parts = (*_title(report), *_verdict(report), *checklist_section(report.checklist))
    print_parts(make_console(stream, width, color), parts)


def _parts(report: Report) -> Iterator[RenderableType]:
    yield from _title(report)
    yield from _verdict(report)
    for section in SECTIONS.values():
        yield from section(report)


def _title(report: Report) -> Iterator[RenderableType]:
    info = report.info
    named = f" ({info.name})" if info.name else ""
    yield line(
        say(
            "Performance of run {run_id}{named}",
            run_id=info.run_id or "(without a name)",
            named=named,
        ),
        "bold",
    )
    yield line(_about(report))
    yield line(
        say(
            "{steps_used} | trust {grade} ({meaning})",
            steps_used=_steps_used(report),
            grade=report.trust.grade,
            meaning=GRADES[report.trust.grade],
        )
    )
    yield from trust_lines(report.trust)
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
    ranks = (
        say("{world_size} rank(s)", world_size=info.world_size)
        if info.world_size
        else "ranks unknown"
    )
    clock = say("{clock} clock", clock=breakdown.clock or "unknown")
    is_unsettled = info.status == "running" and report.analysis.kill is None
    end = NO_END if is_unsettled else status_of(report)
    facts = (device or "device unknown", ranks, clock, end)
    return listed((fact for fact in facts if fact), " | ")


def _sources(report: Report) -> Iterator[RenderableType]:
    for each in report.inputs:
        yield line(_input(each), "" if each.status == "read" else "yellow")
    yield from _traces(report)


def _steps_used(report: Report) -> str:
    breakdown = report.analysis.breakdown
    by_tag = listed(
        say("{tags} {count}", tags=listed(tags.split(" + "), " + "), count=count)
        for tags, count in breakdown.excluded_by_tags.items()
    )
    if breakdown.is_tagged_included:
        return say(
            "{count} step(s) used, all of them tagged ({by_tag})",
            count=breakdown.count,
            by_tag=by_tag,
        )
    tagged = say(" ({by_tag})", by_tag=by_tag) if by_tag and breakdown.excluded else ""
    return say(
        "{count} step(s) used, {excluded} left out{tagged}",
        count=breakdown.count,
        excluded=breakdown.excluded,
        tagged=tagged,
    )


def _input(each: Input) -> str:
    path = os.path.normpath(each.path)  # of a log found beside its facts: without the ".."
    return say("{status} {kind}: {path}", status=each.status, kind=each.kind, path=path)


def _traces(report: Report) -> Iterator[RenderableType]:
    steps = report.info.profiled_steps
    of = say(" of steps {first} to {last}", first=steps[0], last=steps[1]) if steps else ""
    for path in report.info.traces[:MAX_TRACES]:
        yield line(say("trace{of}: {path} (opens in ui.perfetto.dev)", of=of, path=path))
    if len(report.info.traces) > MAX_TRACES:
        yield line(
            say(
                "and {num_traces} more trace(s) beside it",
                num_traces=len(report.info.traces) - MAX_TRACES,
            )
        )


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
            bar=((phase.name, phase.mean_ms),),
        )
    for name in _unnamed(report):
        add_row(rows, name, *_times(None, None, None), units.share(None), "-")
    step = report.analysis.breakdown.step
    if step is not None:
        times = _times(step.mean_ms, step.median_ms, step.p95_ms)
        whole = [(phase.name, phase.mean_ms) for phase in report.phases]
        add_row(rows, "step", *times, "", str(step.count), style="bold", bar=whole)
    yield heading(say("Phases of the step ({clock} clock)", clock=report.phases[0].clock))
    yield _moved(rows)
    yield from closure_lines(report, "phases of the step")
    yield from basis_lines(report)
    yield from map(indented, phase_notes(report))


def _unnamed(report: Report) -> list[str]:
    """Phases that another's loop does not name: shown, so that nobody takes them for 0."""
    if report.info.trainer != "own":
        return []
    shown = {phase.name for phase in report.phases}
    return [name for name in report.info.phases if name not in shown]


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
        say(
            "{samples_per_s} samples/s in ordinary steps, {wall_samples_per_s} by the wall "
            "clock ({samples_per_step} sample(s) a step).",
            samples_per_s=units.rate(rate.samples_per_s),
            wall_samples_per_s=units.rate(rate.wall_samples_per_s),
            samples_per_step=units.number(rate.samples_per_step),
        )
    )


def _notes(report: Report) -> Iterator[RenderableType]:
    notes = without_bases(report)
    if not notes:
        return
    yield heading("Notes")
    yield from _limited(notes)


def _limited(notes: Sequence[str]) -> Iterator[RenderableType]:
    for note in notes[:MAX_NOTES]:
        yield indented(say("- {note}", note=note))
    if len(notes) > MAX_NOTES:
        yield indented(
            say("- and {num_notes} more (--json has all of them)", num_notes=len(notes) - MAX_NOTES)
        )


SECTIONS: Mapping[str, Callable[[Report], Iterator[RenderableType]]] = {
    "comparison": comparison_section,
    "plans": plans_section,
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
    "kill": kill_section,
    "out-of-memory": failure_section,
    "black-box": black_box_section,
    "findings": findings_section,
    "rules": not_evaluated_section,
    "notes": _notes,
    "recorder": recorder_cost_section,
}
"""What stands below the verdict, by a name that other renderers know it by, in its order."""
