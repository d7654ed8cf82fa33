"""The finer parts of a trace for a terminal: critical path, stages, copies, collectives."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_copies import CopyUse
from diagnostics.analyses.trace_names import AUTOGRAD_NODE
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import add_row, indented
from diagnostics.report.console import table as make_table

TOP_PARTS, TOP_STAGES, TOP_ROWS = 8, 8, 6
NAME_CHARACTERS = 36
PATH_WORDS = {
    "compute": "device computes",
    "communication": "device communicates",
    "device_copy": "device copies",
    "queued": "launched work has not begun",
    "data_loading": "program waits for data",
    "synchronisation": "program returns from waiting for the device",
    "copy": "program starts copies",
    "allocator": "program asks for memory",
    "garbage_collection": "program collects garbage",
    "profiler": "profiler holds the program up",
    "launching": "program runs operators",
    "python": "program runs Python between operators",
    "unattributed": "(the trace does not say)",
}
DIRECTION_WORDS = {
    "to_device": "to the device",
    "from_device": "from the device",
    "on_device": "on the device",
    "between_devices": "between devices",
    "on_host": "on the host",
    "other": "elsewhere",
}


def trace_details(found: TraceAnalysis) -> Iterator[RenderableType]:
    """What there is of it, each part as a small table."""
    yield from _critical_path(found)
    yield from _stages(found)
    yield from _copies(found)
    yield from _collectives(found)
    yield from _recomputation(found)


def short(name: str, characters: int = NAME_CHARACTERS) -> str:
    """A name that fits a column; what only says that it is a node of the backward goes first."""
    name = name if len(name) <= characters else AUTOGRAD_NODE.sub("", name)
    return name if len(name) <= characters else f"{name[: characters - 3]}..."


def short_place(place: str, characters: int = NAME_CHARACTERS) -> str:
    """A place that fits a column: of a path its end tells most, of a name its beginning."""
    is_path = ".py:" in place
    return f"...{place[3 - characters :]}" if is_path and len(place) > characters else short(place)


def _critical_path(found: TraceAnalysis) -> Iterator[RenderableType]:
    path = found.critical_path
    if path is None:
        return
    rows = make_table("on the critical path ", "share")
    for part in path.parts[:TOP_PARTS]:
        bar = ((part.kind, part.share),)
        add_row(rows, PATH_WORDS[part.kind], units.share(part.share), bar=bar)
    yield _moved(rows)
    if path.operators:
        most = listed(
            say("{operator} {share}", operator=short(each.name), share=units.share(each.share))
            for each in path.operators[:3]
        )
        yield indented(say("Most of it: {operators}.", operators=most))
    if path.is_shortened:
        yield indented("The path was followed over the last part of the window only.")


def _stages(found: TraceAnalysis) -> Iterator[RenderableType]:
    use = found.kernels
    if use is None or all(each.name == "(unknown)" for each in use.by_stage):
        return
    rows = make_table("kernels of stage ", "direction", "ms", "share", "count")
    for each in use.by_stage[:TOP_STAGES]:
        phase = "" if each.phase == "direct" else each.phase
        time = units.ms(each.ns / 1e6)
        add_row(rows, short(each.name), phase, time, units.share(each.share), str(each.count))
    yield _moved(rows)


def _copies(found: TraceAnalysis) -> Iterator[RenderableType]:
    if not found.copies:
        return
    rows = make_table("copies ", "count", "size", "ms", "not hidden", "GB/s")
    for each in found.copies[:TOP_ROWS]:
        times = (units.ms(each.ns / 1e6), units.ms(each.exposed_ns / 1e6))
        size, speed = units.size(each.num_bytes), units.number(each.gb_per_s, 1)
        add_row(rows, _ends(each), str(each.count), size, *times, speed)
    yield _moved(rows)


def _ends(copy: CopyUse) -> str:
    direction = DIRECTION_WORDS[copy.direction]
    return (
        direction
        if copy.memory is None
        else say("{direction}, {memory} memory", direction=direction, memory=copy.memory)
    )


def _collectives(found: TraceAnalysis) -> Iterator[RenderableType]:
    if not found.collectives:
        return
    rows = make_table("collective ", "count", "size", "ms", "not hidden", "bus GB/s")
    for each in found.collectives[:TOP_ROWS]:
        name = each.collective if each.dtype is None else f"{each.collective} {each.dtype}"
        times = (units.ms(each.ns / 1e6), units.ms(each.exposed_ns / 1e6))
        size, speed = units.size(each.num_bytes), units.number(each.bus_gb_per_s, 1)
        add_row(rows, name, str(each.count), size, *times, speed)
    yield _moved(rows)


def _recomputation(found: TraceAnalysis) -> Iterator[RenderableType]:
    again = found.recomputation
    if not again.host_ns:
        return
    yield indented(
        say(
            "The backward computes {host_ns} ms of the forward again ({host_share_of_window} "
            "of the time on the host, {kernel_share} of kernel time).",
            host_ns=units.ms(again.host_ns / 1e6),
            host_share_of_window=units.share(again.host_share_of_window),
            kernel_share=units.share(again.kernel_share),
        )
    )


def _moved(part: RenderableType) -> Padding:
    return Padding(part, (1, 0, 0, 2))
