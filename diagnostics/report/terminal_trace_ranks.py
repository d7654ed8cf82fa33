"""The ranks of several traces side by side, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.trace_ranks import TraceRanks
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table

_ABSENT = {
    "same_rank": "The traces were not compared: several are of one rank.",
    "no_common_step": "The ranks were not compared: their traces have no step in common.",
    "no_collective": "The ranks were not compared: a trace shows no exchange with another rank.",
    "no_pair": "The ranks were not compared: no exchange could be found in all of their traces.",
}


def trace_ranks_section(found: TraceRanks) -> Iterator[RenderableType]:
    """Nothing for a single trace."""
    if found.why_not == "one_trace":
        return
    yield heading("Ranks by their traces")
    if found.why_not is not None:
        yield indented(_ABSENT[found.why_not])
        return
    rows = make_table("rank", "step ms", "own ms", "waits ms", "late by ms", "slowest in")
    for each in found.ranks:
        times = (each.step_ms, each.own_ms, each.wait_ms, each.lateness_ms)
        slowest = units.share(each.slowest_share)
        add_row(rows, str(each.rank), *(units.ms(value) for value in times), slowest)
    yield Padding(rows, (0, 0, 0, 2))
    yield indented(
        say(
            "Without rank {rank} a step would save {cost_ms} ms ({num_steps} steps, {num_paired} "
            "of {num_collectives} exchanges found in all traces).",
            rank=found.slowest_rank,
            cost_ms=units.ms(found.cost_ms_per_step),
            num_steps=found.num_steps,
            num_paired=found.num_paired,
            num_collectives=found.num_collectives,
        )
    )
