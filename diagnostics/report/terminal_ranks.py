"""The terminal's part about ranks: side by side, who is waited for, what they exchange."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.rank_places import RankPlace
from diagnostics.analyses.ranks import CAUSES, Ranks
from diagnostics.language import say
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
    local = (
        ""
        if place.local_rank is None
        else say(", local rank {local_rank}", local_rank=place.local_rank)
    )
    text = say(
        "rank {rank}: {device} of {host}{local}",
        rank=place.rank,
        device=place.device or "device unknown",
        host=place.host or "?",
        local=local,
    )
    if place.clock_offset_ms is None:
        return say("{text}; clock not compared", text=text)
    if place.rank == 0:
        return text
    return say(
        "{text}; clock {clock_offset_ms:+.3f} ms from rank 0's (to {clock_uncertainty_ms} ms)",
        text=text,
        clock_offset_ms=place.clock_offset_ms,
        clock_uncertainty_ms=units.number(place.clock_uncertainty_ms),
    )


def _lateness(ranks: Ranks) -> Iterator[RenderableType]:
    if not ranks.times or ranks.slowest is None:
        return
    rows = make_table("rank", *CAUSES, "own ms", "waits ms", "late by ms", "slowest in")
    for each in ranks.times:
        parts = [units.ms(each.by_cause[cause]) for cause in CAUSES]
        totals = (units.ms(value) for value in (each.own_ms, each.wait_ms, each.lateness_ms))
        add_row(rows, str(each.rank), *parts, *totals, units.share(each.slowest_share))
    yield heading(
        say(
            "Who waits for whom ({clock} clock, {num_steps} steps)",
            clock=ranks.clock,
            num_steps=ranks.num_steps,
        )
    )
    yield Padding(rows, (0, 0, 0, 2))
    slowest = ranks.slowest
    yield indented(
        say(
            "Slowest: rank {rank}, most by {cause} ({excess_ms} ms above the others); it "
            "costs {cost_ms_per_step} ms a step. Whoever was slowest, a step took "
            "{imbalance_ms} ms longer than the median rank.",
            rank=slowest.rank,
            cause=slowest.cause,
            excess_ms=units.ms(slowest.excess_ms[slowest.cause]),
            cost_ms_per_step=units.ms(slowest.cost_ms_per_step),
            imbalance_ms=units.ms(ranks.imbalance_ms),
        )
    )


def _exchange(report: Report) -> Iterator[RenderableType]:
    use = report.analysis.communication
    if use is None:
        return
    yield heading(say("Communication between ranks ({clock} clock)", clock=use.clock))
    yield indented(
        say(
            "Exchange of gradients {ms} ms a step ({share}): {hidden_ms} ms hidden behind "
            "the backward, {exposed_ms} ms exposed ({exposed_share}), of which "
            "{least_exposed_ms} ms even for the last rank to arrive.",
            ms=units.ms(use.ms),
            share=units.share(use.share),
            hidden_ms=units.ms(use.hidden_ms),
            exposed_ms=units.ms(use.exposed_ms),
            exposed_share=units.share(use.exposed_share),
            least_exposed_ms=units.ms(use.least_exposed_ms),
        )
    )
    passes = (
        ""
        if use.micro_batches is None
        else say(" of {micro_batches}", micro_batches=units.number(use.micro_batches))
    )
    yield indented(
        say(
            "{buckets} bucket(s), {num_bytes}, in {exchanges}{passes} backward pass(es); "
            "launching took {launch_ms} ms, other collectives {wait_ms} ms.",
            buckets=units.number(use.buckets),
            num_bytes=units.size(use.num_bytes),
            exchanges=units.number(use.exchanges),
            passes=passes,
            launch_ms=units.ms(use.launch_ms),
            wait_ms=units.ms(use.wait_ms),
        )
    )
