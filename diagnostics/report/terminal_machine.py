"""Memory and quality, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.memory_course import growth_steps
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.growth_words import device_growth_lines, growth_lines
from diagnostics.report.memory_warning_words import warning_lines
from diagnostics.report.model import Report
from diagnostics.report.shape_words import shape_lines

TOP_PEAKS = 3
"""Stages whose own peak is shown; `--json` has all."""


def memory_section(report: Report) -> Iterator[RenderableType]:
    """Every memory that was followed: first, last, peak, limit and growth."""
    if not report.analysis.memory:
        return
    steps = growth_steps(report.analysis.memory)
    growth = say("/{steps} steps", steps=steps)
    rows = make_table("memory", "of ", "first", "last", "peak", "limit", growth)
    for course in report.analysis.memory:
        add_row(
            rows,
            course.name,
            course.owner,
            units.size(course.first_bytes),
            units.size(course.last_bytes),
            units.size(course.peak_bytes),
            units.size(course.limit_bytes),
            units.size(course.late_growth_bytes(steps)),
        )
    yield heading("Memory (growth over the second half)")
    yield Padding(rows, (0, 0, 0, 2))
    for told in shape_lines(report):
        yield indented(told)
    yield from growth_lines(report.analysis.host_growth)
    yield from device_growth_lines(report.analysis.device_growth)
    yield from warning_lines(report.analysis.memory_warnings)
    yield from _device_memory(report)


def _device_memory(report: Report) -> Iterator[RenderableType]:
    for each in report.analysis.device_memory:
        if each.peak_bytes is not None:
            yield indented(
                say(
                    "GPU of rank {rank}: peak {peak_bytes} in {peak_place} ({num_sampled} "
                    "sampled step(s)).",
                    rank=each.rank,
                    peak_bytes=units.size(each.peak_bytes),
                    peak_place=each.peak_place,
                    num_sampled=each.num_sampled,
                )
            )
        for stage in each.stages[:TOP_PEAKS]:
            yield indented(
                say(
                    "{peak_bytes} in {name} {phase}",
                    peak_bytes=units.size(stage.peak_bytes),
                    name=stage.name,
                    phase=stage.phase,
                ),
                4,
            )
        if each.unused_bytes is not None:
            yield indented(
                say(
                    "GPU of rank {rank}: up to {unused_bytes} reserved beside what tensors "
                    "held, {inactive_split_bytes} of it in split blocks; {alloc_retries} "
                    "allocation(s) retried.",
                    rank=each.rank,
                    unused_bytes=units.size(each.unused_bytes),
                    inactive_split_bytes=units.size(each.inactive_split_bytes),
                    alloc_retries=units.number(each.alloc_retries, 0),
                )
            )


def quality_section(report: Report) -> Iterator[RenderableType]:
    """How sharp the result is, and where the loss went."""
    found = report.analysis.quality
    if found.last is None and found.first_loss is None:
        return
    yield heading("Quality")
    if found.last is not None:
        when = say(
            "{num_points} validation(s); the last, after step {step}",
            num_points=len(found.points),
            step=found.last.step,
        )
        sharpness = say(
            ": {psnr_rgb_db} dB PSNR, blurry input {input_psnr_rgb_db} dB, SSIM {ssim_y}",
            psnr_rgb_db=units.number(found.last.psnr_rgb_db),
            input_psnr_rgb_db=units.number(found.last.input_psnr_rgb_db),
            ssim_y=units.number(found.last.ssim_y, 4),
        )
        parts = [when] if found.last.psnr_rgb_db is None else [when, sharpness]
        yield indented(listed(parts, ""))
    if found.first_loss is not None:
        yield indented(
            say(
                "loss {first_loss} in the first tenth of the steps, {last_loss} in the last",
                first_loss=units.number(found.first_loss, 4),
                last_loss=units.number(found.last_loss, 4),
            )
        )
