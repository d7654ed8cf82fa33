"""The loader, for a terminal: what its processes spend their time on, and what the step finds."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.loading import CopyUse, Loading, QueueUse
from diagnostics.analyses.worker_plan import WorkerPlan
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.loading_words import part_label
from diagnostics.report.model import Report
from diagnostics.report.terminal_cache import cache_part
from diagnostics.report.terminal_damage import damage_part
from diagnostics.report.terminal_storage import storage_part

MAX_DEPTHS = 8


def loading_section(report: Report) -> Iterator[RenderableType]:
    """The parts of making a batch, the queue at each fetch, and the copies to the device."""
    found = report.analysis.loading
    if report.analysis.worker_plan is not None:
        yield heading("Loading processes, as chosen at the start")
        yield from worker_plan_lines(report.analysis.worker_plan)
    if found.parts:
        yield heading("What a worker spends its time on")
        yield from _parts(found)
    if found.queue is not None:
        yield heading("The loader's queue")
        yield indented(_queue(found.queue))
    yield from storage_part(report.analysis)
    if found.copies is not None:
        yield heading("Copies to the device")
        yield indented(_copies(found.copies))
    yield from cache_part(report.analysis.cache)
    yield from damage_part(report.analysis.damaged)


def worker_plan_lines(plan: WorkerPlan) -> Iterator[RenderableType]:
    """The choice in the trainer's words, and what a sample was found to cost."""
    if plan.worker_rule:
        yield indented(say("{rule}.", rule=plan.worker_rule))
    if plan.sample_ms is None:
        return
    parts = [
        say("{name} {ms} ms", name=part_label(name), ms=units.ms(ms)) for name, ms in plan.parts
    ]
    yield indented(
        say(
            "A sample took {sample_ms} ms, none of it from a cache ({samples} timed in {timing_ms} "
            "ms, the slowest {slowest_ms} ms): {parts}.",
            sample_ms=units.ms(plan.sample_ms),
            samples=units.number(plan.samples_timed, 0),
            timing_ms=units.ms(plan.timing_ms),
            slowest_ms=units.ms(plan.slowest_sample_ms),
            parts=listed(parts),
        )
    )


def _parts(found: Loading) -> Iterator[RenderableType]:
    rows = make_table("part", "ms a sample", "share")
    for part in found.parts:
        bar = ((part.name, part.ms_per_sample),)
        cells = units.ms(part.ms_per_sample), units.share(part.share)
        add_row(rows, part_label(part.name), *cells, bar=bar)
    yield Padding(rows, (0, 0, 0, 2))
    if found.made is not None:
        yield indented(
            say(
                "Making a batch takes {mean_ms} ms (median {median_ms}, p95 {p95_ms}); the "
                "loader can deliver one every {supply_ms} ms.",
                mean_ms=units.ms(found.made.mean_ms),
                median_ms=units.ms(found.made.median_ms),
                p95_ms=units.ms(found.made.p95_ms),
                supply_ms=units.ms(found.supply_ms),
            )
        )
    if found.queued is not None:
        yield indented(
            say(
                "A finished batch waits {mean_ms} ms until it is used (median {median_ms}), "
                "its hand-over included.",
                mean_ms=units.ms(found.queued.mean_ms),
                median_ms=units.ms(found.queued.median_ms),
            )
        )


def _queue(queue: QueueUse) -> str:
    depths = list(queue.fetches_by_ready.items())
    shown = ", ".join(f"{ready}: {count}" for ready, count in depths[:MAX_DEPTHS])
    more = ", ..." if len(depths) > MAX_DEPTHS else ""
    return say(
        "{empty_share} of {num_fetches} fetches found no finished batch; {median_ready} "
        "were ready in the median (fetches by batches ready: {shown}{more}).",
        empty_share=units.share(queue.empty_share),
        num_fetches=queue.num_fetches,
        median_ready=units.number(queue.median_ready, 0),
        shown=shown,
        more=more,
    )


def _copies(copies: CopyUse) -> str:
    size = say("{bytes_per_step} a step", bytes_per_step=units.size(copies.bytes_per_step))
    if copies.pinned_share is None:
        return say("{size}.", size=size)
    if copies.pinned_share >= 1:
        return say("{size}, all of it from pinned memory.", size=size)
    return say(
        "{size}, {pinned_share} of it from pinned memory: the rest makes the host wait "
        "for each copy.",
        size=size,
        pinned_share=units.share(copies.pinned_share),
    )
