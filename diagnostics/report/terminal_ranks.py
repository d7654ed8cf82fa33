"""The terminal's part about ranks: side by side, who is waited for, what they exchange."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.rank_places import RankPlace
from diagnostics.analyses.ranks import CAUSES, Ranks
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.model import Report


def ranks_section(report: Report) -> Iterator[RenderableType]:
    """Nothing for a run of one rank."""
    yield from _side_by_side(report)
    yield from _lateness(report.analysis.ranks)
    yield from _exchange(report)


def _side_by_side(report: Report) -> Iterator[RenderableType]:
    ranks = report.analysis.breakdown.ranks
    if len(ranks) < 2:
        return
    rows = make_table("rank", "step mean ms", "wait for data", "share of step", "steps")
    for rank in ranks:
        wait_ms, share = units.ms(rank.data_wait_mean_ms), units.share(rank.data_wait_share)
        add_row(rows, str(rank.rank), units.ms(rank.step_mean_ms), wait_ms, share, str(rank.count))
    yield heading("Ranks (host clock)")
    yield Padding(rows, (0, 0, 0, 2))
    for place in report.analysis.ranks.places:
        yield indented(_place(place))


def _place(place: RankPlace) -> str:
    local = "" if place.local_rank is None else f", local rank {place.local_rank}"
    text = f"rank {place.rank}: {place.device or 'device unknown'} of {place.host or '?'}{local}"
    if place.clock_offset_ms is None:
        return f"{text}; clock not compared"
    if place.rank == 0:
        return text
    return (
        f"{text}; clock {place.clock_offset_ms:+.3f} ms from rank 0's "
        f"(to {units.number(place.clock_uncertainty_ms)} ms)"
    )


def _lateness(ranks: Ranks) -> Iterator[RenderableType]:
    if not ranks.times or ranks.slowest is None:
        return
    rows = make_table("rank", *CAUSES, "own ms", "waits ms", "late by ms", "slowest in")
    for each in ranks.times:
        parts = [units.ms(each.by_cause[cause]) for cause in CAUSES]
        totals = (units.ms(value) for value in (each.own_ms, each.wait_ms, each.lateness_ms))
        add_row(rows, str(each.rank), *parts, *totals, units.share(each.slowest_share))
    yield heading(f"Who waits for whom ({ranks.clock} clock, {ranks.num_steps} steps)")
    yield Padding(rows, (0, 0, 0, 2))
    slowest = ranks.slowest
    yield indented(
        f"Slowest: rank {slowest.rank}, most by {slowest.cause} "
        f"({units.ms(slowest.excess_ms[slowest.cause])} ms above the others); it costs "
        f"{units.ms(slowest.cost_ms_per_step)} ms a step. Whoever was slowest, a step took "
        f"{units.ms(ranks.imbalance_ms)} ms longer than the median rank."
    )


def _exchange(report: Report) -> Iterator[RenderableType]:
    use = report.analysis.communication
    if use is None:
        return
    yield heading(f"Communication between ranks ({use.clock} clock)")
    yield indented(
        f"Exchange of gradients {units.ms(use.ms)} ms a step ({units.share(use.share)}): "
        f"{units.ms(use.hidden_ms)} ms hidden behind the backward, {units.ms(use.exposed_ms)} ms "
        f"exposed ({units.share(use.exposed_share)}), of which {units.ms(use.least_exposed_ms)} "
        "ms even for the last rank to arrive."
    )
    passes = "" if use.micro_batches is None else f" of {units.number(use.micro_batches)}"
    yield indented(
        f"{units.number(use.buckets)} bucket(s), {units.size(use.num_bytes)}, in "
        f"{units.number(use.exchanges)}{passes} backward pass(es); launching took "
        f"{units.ms(use.launch_ms)} ms, other collectives {units.ms(use.wait_ms)} ms."
    )
