"""What traces tell of the device, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_kernels import KernelUse
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.model import Report
from diagnostics.report.terminal_trace_details import short, short_place, trace_details
from diagnostics.report.terminal_trace_memory import trace_memory_lines
from diagnostics.report.terminal_trace_ranks import trace_ranks_section

TOP_KERNELS = 5
NAME_CHARACTERS = 44
CAUSE_WORDS = {
    "data_loading": "waits for data",
    "synchronisation": "waits for the device",
    "copy": "starts copies",
    "allocator": "asks for memory",
    "garbage_collection": "collects garbage",
    "profiler": "waits for the profiler",
    "launching": "runs operators",
    "python": "runs Python",
    "unattributed": "(unknown)",
    "queued": "(work not yet begun)",
}

_ABSENT = {
    "no_step": "Nothing in the trace marks a step: all figures are of the whole trace.",
    "no_event": "The trace holds no event.",
    "no_device": "The device was not evaluated: the trace holds no work of one.",
    "no_backward": "Recomputation was not evaluated: the trace shows no backward pass.",
    "no_sequence_numbers": (
        "Recomputation was not evaluated: the trace's operators carry no sequence numbers."
    ),
    "second_derivative": (
        "Recomputation was not evaluated: the backward pass is itself differentiated."
    ),
}


def trace_section(report: Report) -> Iterator[RenderableType]:
    """Busy and idle device, the causes of idleness, the kernels; of each trace."""
    for each in report.analysis.traces:
        yield from _device(each)
        yield from trace_memory_lines(each)
        yield from _idle(each)
        if each.kernels is not None:
            yield from _kernels(each.kernels)
        yield from trace_details(each)
    yield from trace_ranks_section(report.analysis.trace_ranks)


def _device(found: TraceAnalysis) -> Iterator[RenderableType]:
    yield heading(
        say(
            "Trace {file} ({num_steps} steps by {step_mark})",
            file=found.file,
            num_steps=found.num_steps,
            step_mark=found.step_mark,
        )
        if found.num_steps
        else say("Trace {file} (all of it)", file=found.file)
    )
    for absence in found.absences:
        if absence.reason in _ABSENT:
            yield indented(_ABSENT[absence.reason])
    if found.breakdown is None or found.breakdown.gpu_busy_share is None:
        return
    rows = make_table("the device", "ms per step", "share")
    for name, share in (
        ("computes", found.breakdown.compute_share),
        ("communicates, not hidden", found.breakdown.communication_exposed_share),
        ("copies, not hidden", found.breakdown.copy_exposed_share),
        ("is idle", found.breakdown.idle_share),
    ):
        ms = found.breakdown.ms_per_step(share)
        add_row(rows, name, units.ms(ms), units.share(share), bar=((name, ms),))
    yield Padding(rows, (0, 0, 0, 2))
    hidden = found.breakdown.communication_share
    if hidden:
        yield indented(
            say(
                "Communication takes {hidden} in all, hidden part included.",
                hidden=units.share(hidden),
            )
        )


def _idle(found: TraceAnalysis) -> Iterator[RenderableType]:
    if not found.idle_causes:
        return
    rows = make_table("meanwhile the program", "ms per step", "share", "where ")
    for cause in found.idle_causes:
        ms, share = units.ms(cause.ms_per_step), units.share(cause.share_of_window)
        place = cause.where or next((each.where for each in cause.places), "")
        bar = (("is idle", cause.ms_per_step),)
        add_row(rows, CAUSE_WORDS[cause.cause], ms, share, short_place(place), bar=bar)
    yield Padding(rows, (1, 0, 0, 2))
    if not found.has_stacks:
        yield indented("Record the trace with stacks to see file and line.", style="dim")


def _kernels(use: KernelUse) -> Iterator[RenderableType]:
    rows = make_table("kernel ", "ms", "share", "count")
    for group in use.by_name[:TOP_KERNELS]:
        shown, ms = short(group.name, NAME_CHARACTERS), group.ns / 1e6
        share, count = units.share(group.share), str(group.count)
        add_row(rows, shown, units.ms(ms), share, count, bar=(("kernel", ms),))
    yield Padding(rows, (1, 0, 0, 2))
    eligible = units.share(use.eligible_share)
    facts = [
        say(
            "tensor cores {tensor_core_share} of kernel time{eligible}",
            tensor_core_share=units.share(use.tensor_core_share),
            eligible=say(" (operators that could use them: {share})", share=eligible)
            if use.eligible_share
            else "",
        )
    ]
    if use.sm_efficiency is not None:
        facts.append(
            say(
                "estimated SM efficiency {sm_efficiency}",
                sm_efficiency=units.share(use.sm_efficiency),
            )
        )
    if use.occupancy_percent is not None:
        facts.append(
            say(
                "estimated occupancy {occupancy_percent:.0f} %",
                occupancy_percent=use.occupancy_percent,
            )
        )
    yield indented(say("{count} kernel(s); {facts}.", count=use.count, facts=listed(facts)))
