"""What recording cost, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.recorder_cost import RecorderCost
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import heading, indented
from diagnostics.report.model import Report


def recorder_cost_section(report: Report) -> Iterator[RenderableType]:
    """The recorder's own time and bytes of a step, the sampler's CPU, and what was thinned."""
    cost = report.analysis.recorder_cost
    if cost is None:
        return
    yield heading("Cost of recording")
    yield indented(
        say(
            "{own_time}, {bytes_per_step} on disk a step",
            own_time=_own_time(cost),
            bytes_per_step=units.size(cost.bytes_per_step),
        )
    )
    if cost.sampler_cpu_percent is not None:
        yield indented(
            say(
                "the resource sampler: {sampler_cpu_percent:.1f} % of a core",
                sampler_cpu_percent=cost.sampler_cpu_percent,
            )
        )
    for trace in cost.traces:
        yield indented(
            say(
                "trace of steps {steps} of rank {rank}: {plain_bytes} before compression, "
                "exported in {export_ms} ms",
                steps=trace.steps or "unknown",
                rank=trace.rank,
                plain_bytes=units.size(trace.plain_bytes),
                export_ms=units.ms(trace.export_ms),
            )
        )
    if cost.thinned_from_step is not None:
        yield indented(
            say(
                "stages timed in one of {stages_every_steps} steps at the end, thinned from "
                "step {thinned_from_step} on to keep within {limit} of a step",
                stages_every_steps=cost.stages_every_steps or 1,
                thinned_from_step=cost.thinned_from_step,
                limit=_limit(cost),
            )
        )
    if cost.over_budget_share is not None:
        yield indented(
            say(
                "still {over_budget_share} of a step when thinned: above "
                "PROFILING.BUDGET_SHARE ({limit})",
                over_budget_share=units.share(cost.over_budget_share),
                limit=_limit(cost),
            ),
            style="yellow",
        )


def _own_time(cost: RecorderCost) -> str:
    if cost.mean_ms is None:
        return "the recorder itself: not stated by these facts"
    share = "" if cost.share_of_step is None else f" ({cost.share_of_step:.2%})"
    return say(
        "the recorder itself: {mean_ms} ms a step{share}",
        mean_ms=units.ms(cost.mean_ms),
        share=share,
    )


def _limit(cost: RecorderCost) -> str:
    return "the budget" if cost.budget_share is None else f"{cost.budget_share:.2%}"
