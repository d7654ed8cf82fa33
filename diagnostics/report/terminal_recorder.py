"""What recording cost, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from diagnostics.analyses.recorder_cost import RecorderCost
from diagnostics.report import units
from diagnostics.report.console import heading, indented
from diagnostics.report.model import Report


def recorder_cost_section(report: Report) -> Iterator[RenderableType]:
    """The recorder's own time and bytes of a step, the sampler's CPU, and what was thinned."""
    cost = report.analysis.recorder_cost
    if cost is None:
        return
    yield heading("Cost of recording")
    yield indented(f"{_own_time(cost)}, {units.size(cost.bytes_per_step)} on disk a step")
    if cost.sampler_cpu_percent is not None:
        yield indented(f"the resource sampler: {cost.sampler_cpu_percent:.1f} % of a core")
    for trace in cost.traces:
        yield indented(
            f"trace of steps {trace.steps or 'unknown'} of rank {trace.rank}: "
            f"{units.size(trace.plain_bytes)} before compression, exported in "
            f"{units.ms(trace.export_ms)} ms"
        )
    if cost.thinned_from_step is not None:
        yield indented(
            f"stages timed in one of {cost.stages_every_steps or 1} steps at the end, thinned from "
            f"step {cost.thinned_from_step} on to keep within {_limit(cost)} of a step"
        )
    if cost.over_budget_share is not None:
        yield indented(
            f"still {units.share(cost.over_budget_share)} of a step when thinned: above "
            f"PROFILING.BUDGET_SHARE ({_limit(cost)})",
            style="yellow",
        )


def _own_time(cost: RecorderCost) -> str:
    if cost.mean_ms is None:
        return "the recorder itself: not stated by these facts"
    share = "" if cost.share_of_step is None else f" ({cost.share_of_step:.2%})"
    return f"the recorder itself: {units.ms(cost.mean_ms)} ms a step{share}"


def _limit(cost: RecorderCost) -> str:
    return "the budget" if cost.budget_share is None else f"{cost.budget_share:.2%}"
