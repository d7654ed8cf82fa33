"""The ranks of a run and what they exchanged, as plain data for the JSON report."""

from dataclasses import asdict
from typing import Any

from diagnostics.analyses.communication import CommunicationUse
from diagnostics.analyses.ranks import CAUSES, Ranks, RankTimes
from diagnostics.analyses.run_analysis import RunAnalysis


def ranks_mapping(analysis: RunAnalysis) -> list[dict[str, Any]]:
    """One object for each rank that recorded steps; what is not known is null."""
    times = {each.rank: each for each in analysis.ranks.times}
    places = {each.rank: asdict(each) for each in analysis.ranks.places}
    return [
        {**asdict(step), **_times(times.get(step.rank)), **places.get(step.rank, {})}
        for step in analysis.breakdown.ranks
    ]


def _times(times: RankTimes | None) -> dict[str, Any]:
    return {
        "lateness_ms": times.lateness_ms if times else None,
        "own_ms": times.own_ms if times else None,
        "wait_ms": times.wait_ms if times else None,
        **{f"{cause}_ms": times.by_cause[cause] if times else None for cause in CAUSES},
        "slowest_share": times.slowest_share if times else None,
    }


def slowest_rank_mapping(ranks: Ranks) -> dict[str, Any] | None:
    """Who is waited for and why; None where ranks could not be compared."""
    if ranks.slowest is None:
        return None
    return {
        **asdict(ranks.slowest),
        "clock": ranks.clock,
        "num_steps": ranks.num_steps,
        "imbalance_ms": ranks.imbalance_ms,
    }


def communication_mapping(exchanged: CommunicationUse | None) -> dict[str, Any] | None:
    """The exchange of gradients; None where none was recorded."""
    return None if exchanged is None else asdict(exchanged)
