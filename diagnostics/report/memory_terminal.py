"""The memory report for a terminal, or for a file without any escape sequence."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import IO

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.machine_jobs import Job, Member
from diagnostics.language import say
from diagnostics.printable import printable
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
from diagnostics.report.ending import describe_end
from diagnostics.report.failure_words import failure_section
from diagnostics.report.fitting_table import FittingTable
from diagnostics.report.kill_words import status_of
from diagnostics.report.memory_forecast_terminal import forecast_section, guide_section
from diagnostics.report.memory_holders_terminal import (
    cache_lines,
    gpu_process_lines,
    pinning_lines,
    waiting_lines,
)
from diagnostics.report.memory_model import MachineView, MemoryReport
from diagnostics.report.memory_rewrite_terminal import rewrite_section
from diagnostics.report.terminal_findings import finding_parts
from diagnostics.report.terminal_kill import kill_section
from diagnostics.report.terminal_machine import memory_section
from diagnostics.report.terminal_resources import pressure_section
from diagnostics.report.terminal_snapshot import snapshot_section
from diagnostics.report.watch_terminal import watched_section
from diagnostics.rules.finding import Finding

MAX_PROCESSES = 20
MAX_NOTES = 10


def render_terminal(
    report: MemoryReport, stream: IO[str], width: int | None = None, color: bool | None = None
) -> None:
    """Print the report; see `make_console` for width and colour."""
    print_parts(make_console(stream, width, color), _parts(report))


def _parts(report: MemoryReport) -> Iterator[RenderableType]:
    yield line("Memory of this machine", "bold")
    yield from input_lines(report)
    yield heading("Verdict")
    severity = report.findings[0].severity.label if report.findings else ""
    yield indented(report.verdict, style=SEVERITY_STYLES.get(severity, "bold"))
    for section in SECTIONS.values():
        yield from section(report)


def input_lines(report: MemoryReport) -> Iterator[RenderableType]:
    """What was read."""
    for each in report.run.inputs:
        style = "" if each.status == "read" else "yellow"
        yield line(
            say("{status} {kind}: {path}", status=each.status, kind=each.kind, path=str(each.path)),
            style,
        )


def _machine_now(report: MemoryReport) -> Iterator[RenderableType]:
    yield from _machine(report.machine)
    yield from _gpus(report.machine)


def _training(report: MemoryReport) -> Iterator[RenderableType]:
    yield from _jobs(report.machine)


def _forecast(report: MemoryReport) -> Iterator[RenderableType]:
    if report.forecast is not None:
        yield from forecast_section(report.forecast)
    else:
        yield from guide_section(report.bounds)


def _machine(machine: MachineView) -> Iterator[RenderableType]:
    host, room = machine.host, machine.capacity
    rows = make_table("", "total", "used", "free")
    used = _minus(host.ram_total_bytes, host.ram_available_bytes)
    _size_row(rows, "memory", host.ram_total_bytes, used)
    if host.cgroup_limit_bytes is not None:
        name = say("limit of cgroup v{cgroup_version}", cgroup_version=host.cgroup_version)
        _size_row(rows, name, host.cgroup_limit_bytes, host.cgroup_used_bytes)
    _size_row(rows, "swap", host.swap_total_bytes, host.swap_used_bytes)
    _size_row(rows, "/dev/shm", host.shm_total_bytes, host.shm_used_bytes)
    yield heading("Machine")
    yield Padding(rows, (0, 0, 0, 2))
    tightest = room.tightest()
    yield indented(
        say(
            "What counts: {limit} ({memory_limit_source}), {used_share} in use; {cores} "
            "core(s) ({cores_source}).",
            limit=units.size(tightest.limit_bytes if tightest else room.memory_limit_bytes),
            memory_limit_source=tightest.source if tightest else room.memory_limit_source,
            used_share=units.share(room.used_share),
            cores=units.number(room.cores, 0),
            cores_source=room.cores_source,
        )
    )
    yield from cache_lines(host)
    yield from waiting_lines(host)


def _size_row(rows: FittingTable, name: str, total: int | None, used: int | None) -> None:
    free = _minus(total, used)
    add_row(rows, name, units.size(total), units.size(used), units.size(free))


def _minus(total: int | None, part: int | None) -> int | None:
    return None if total is None or part is None else total - part


def _gpus(machine: MachineView) -> Iterator[RenderableType]:
    if machine.gpus.absent_reason is not None:
        yield indented(say("{reason}.", reason=machine.gpus.absent_reason))
        return
    rows = make_table("GPU", "name ", "memory", "used", "busy")
    for gpu in machine.gpus.gpus:
        busy = None if gpu.util_percent is None else gpu.util_percent / 100
        add_row(
            rows,
            str(gpu.index),
            gpu.name or units.UNKNOWN,
            units.size(gpu.memory_total_bytes),
            units.size(gpu.memory_used_bytes),
            units.share(busy),
        )
    yield Padding(rows, (0, 0, 0, 2))
    yield from gpu_process_lines(machine.gpus.gpus, machine.jobs)


def _jobs(machine: MachineView) -> Iterator[RenderableType]:
    yield heading("Training under way")
    if not machine.jobs:
        yield indented("none: no process runs `-m vrtspike.train` (--pid N shows another one)")
    for job in machine.jobs:
        yield from _job(job)
    if machine.jobs:
        yield indented(
            "PSS divides shared pages among their users and may be summed; USS is a process's own; "
            'RSS counts shared pages in full. "in shm" is the part of PSS in shared memory.',
            style="dim",
        )


def _job(job: Job) -> Iterator[RenderableType]:
    bound = ", at most: pages shared between processes count in each" if job.is_upper_bound else ""
    held = units.size(job.memory_bytes)
    yield indented(
        say(
            "job of process {root_pid}: {held} together{bound}",
            root_pid=job.root_pid,
            held=held,
            bound=bound,
        )
    )
    rows = make_table("process", "role ", "PSS", "USS", "RSS", "shared", "in shm", "swap")
    for member in job.members[:MAX_PROCESSES]:
        process = member.process
        add_row(
            rows,
            str(process.pid),
            _role(member),
            units.size(process.pss_bytes),
            units.size(process.uss_bytes),
            units.size(process.rss_bytes),
            units.size(process.shared_bytes),
            units.size(process.shm_bytes),
            units.size(process.swap_bytes),
        )
    yield Padding(rows, (0, 0, 0, 4))
    yield from pinning_lines(job)
    left = len(job.members) - MAX_PROCESSES
    if left > 0:
        yield indented(say("and {left} smaller ones (--json has all of them)", left=left), 4)


def _role(member: Member) -> str:
    rank, command = member.process.rank, member.process.command
    if member.role == "other" and command:
        return say("other ({name})", name=PurePath(command[0]).name)
    return (
        say("{role} of rank {rank}", role=member.role, rank=rank)
        if rank is not None
        else member.role
    )


def _run(report: MemoryReport) -> Iterator[RenderableType]:
    run = report.run.report
    if run is None:
        yield heading("Newest run")
        yield indented(say("none to show: {absent_reason}", absent_reason=report.run.absent_reason))
        return
    name = printable(run.info.run_id or "(no name)")
    yield heading(say("Run {name} ({status})", name=name, status=status_of(run)))
    ending = describe_end(run.analysis.end)
    if ending is not None:
        yield indented(ending, style="yellow")
    if run.analysis.memory:
        yield from memory_section(run)
    else:
        yield indented("it recorded no memory")
    yield from pressure_section(run)
    yield from kill_section(run)
    yield from failure_section(run)


def _findings(report: MemoryReport) -> Iterator[RenderableType]:
    yield heading("What to do, in this order")
    if not report.findings:
        yield indented("Nothing has to change.")
    by_code = {finding.rule: finding for finding in report.findings}
    for place, finding in enumerate(causes_of(report), start=1):
        yield from finding_parts(place, finding, by_code)


def causes_of(report: MemoryReport) -> list[Finding]:
    """The findings that no other one explains."""
    explained = {code for finding in report.findings for code in finding.explains}
    return [finding for finding in report.findings if finding.rule not in explained]


def _notes(report: MemoryReport) -> Iterator[RenderableType]:
    if not report.notes:
        return
    yield heading("Notes")
    for note in report.notes[:MAX_NOTES]:
        yield indented(say("- {note}", note=note))
    if len(report.notes) > MAX_NOTES:
        yield indented(
            say(
                "- and {num_notes} more (--json has all of them)",
                num_notes=len(report.notes) - MAX_NOTES,
            )
        )


def _watched(report: MemoryReport) -> Iterator[RenderableType]:
    yield from watched_section(report.watched)


SECTIONS: Mapping[str, Callable[[MemoryReport], Iterator[RenderableType]]] = {
    "machine": _machine_now,
    "training": _training,
    "watched": _watched,
    "run": _run,
    "snapshots": snapshot_section,
    "forecast": _forecast,
    "findings": _findings,
    "rewrite": rewrite_section,
    "notes": _notes,
}
"""What stands below the verdict, by a name that other renderers know it by, in its order."""
