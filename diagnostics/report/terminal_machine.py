"""Memory, quality and the machine, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.resources import HostSummary
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


def resources_section(report: Report) -> Iterator[RenderableType]:
    """What the machine did beside the training."""
    found = report.analysis.resources
    if not (found.hosts or found.gpus or found.gpus_absent_reason):
        return
    yield heading("Machine")
    for host in found.hosts:
        cpu = units.number(host.cpu_percent.mean, 0)
        cores = units.number(host.cpus_allowed, 0)
        yield indented(f"{host.host}: CPU {cpu} % on average, {cores} core(s) allowed{_disk(host)}")
    for gpu in found.gpus:
        yield indented(
            f"{gpu.host} GPU {gpu.index} {gpu.name or ''}: busy "
            f"{units.number(gpu.util_percent.mean, 0)} % on average, "
            f"{units.size(gpu.memory_used_bytes.peak)} of {units.size(gpu.memory_total_bytes)} at "
            "the peak"
        )
    for process in found.processes:
        yield indented(
            f"{process.host}: {process.max_count} {process.role} process(es), "
            f"{units.size(process.rss_bytes.peak)} resident at the peak"
        )
    if found.gpus_absent_reason:
        yield indented(f"no GPU sampled: {found.gpus_absent_reason}")


def _disk(host: HostSummary) -> str:
    read, written = host.disk_read_bytes_per_s, host.disk_write_bytes_per_s
    if read is None or written is None:
        return ""
    return f", disk {units.size(read)}/s read, {units.size(written)}/s written"
