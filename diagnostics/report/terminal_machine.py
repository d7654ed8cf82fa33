"""Memory and quality, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.model import Report

TOP_PEAKS = 3
"""Stages whose own peak is shown; `--json` has all."""


def memory_section(report: Report) -> Iterator[RenderableType]:
    """Every memory that was followed: first, last, peak, limit and growth."""
    if not report.analysis.memory:
        return
    rows = make_table("memory", "of ", "first", "last", "peak", "limit", "/100 steps")
    for course in report.analysis.memory:
        add_row(
            rows,
            course.name,
            course.owner,
            units.size(course.first_bytes),
            units.size(course.last_bytes),
            units.size(course.peak_bytes),
            units.size(course.limit_bytes),
            units.size(course.late_slope_bytes_per_100_steps),
        )
    yield heading("Memory (growth over the second half)")
    yield Padding(rows, (0, 0, 0, 2))
    yield from _device_memory(report)


def _device_memory(report: Report) -> Iterator[RenderableType]:
    for each in report.analysis.device_memory:
        if each.peak_bytes is not None:
            yield indented(
                f"GPU of rank {each.rank}: peak {units.size(each.peak_bytes)} in {each.peak_place} "
                f"({each.num_sampled} sampled step(s))."
            )
        for stage in each.stages[:TOP_PEAKS]:
            yield indented(f"{units.size(stage.peak_bytes)} in {stage.name} {stage.phase}", 4)
        if each.unused_bytes is not None:
            yield indented(
                f"GPU of rank {each.rank}: up to {units.size(each.unused_bytes)} reserved beside "
                f"what tensors held, {units.size(each.inactive_split_bytes)} of it in split blocks;"
                f" {units.number(each.alloc_retries, 0)} allocation(s) retried."
            )


def quality_section(report: Report) -> Iterator[RenderableType]:
    """How sharp the result is, and where the loss went."""
    found = report.analysis.quality
    if found.last is None and found.first_loss is None:
        return
    yield heading("Quality")
    if found.last is not None:
        when = f"{len(found.points)} validation(s); the last, after step {found.last.step}"
        sharpness = (
            f": {units.number(found.last.psnr_rgb_db)} dB PSNR, blurry input "
            f"{units.number(found.last.input_psnr_rgb_db)} dB, SSIM "
            f"{units.number(found.last.ssim_y, 4)}"
        )
        yield indented(when + (sharpness if found.last.psnr_rgb_db is not None else ""))
    if found.first_loss is not None:
        yield indented(
            f"loss {units.number(found.first_loss, 4)} in the first tenth of the steps, "
            f"{units.number(found.last_loss, 4)} in the last"
        )
