"""From the ranks side by side to what rules need of them."""

from typing import Any

from diagnostics.analyses.ranks import Ranks
from diagnostics.language import listed, say


def measure_ranks(ranks: Ranks) -> dict[str, Any]:
    """The slowest rank, or why none could be named."""
    slowest = ranks.slowest
    if slowest is None or ranks.step_ms is None:
        reasons = listed(ranks.reasons, "; ") or None
        return {"ranks_not_compared": reasons, "num_rank_steps": ranks.num_steps}
    return {
        "rank_slowest": slowest.rank,
        "rank_place": _place(ranks, slowest.rank),
        "rank_cause": slowest.cause,
        "rank_excess_ms": slowest.excess_ms,
        "rank_cost_ms": slowest.cost_ms_per_step,
        "rank_cost_low_ms": slowest.cost_low_ms,
        "rank_step_ms": ranks.step_ms,
        "rank_slowest_share": slowest.slowest_share,
        "num_rank_steps": ranks.num_steps,
    }


def _place(ranks: Ranks, rank: int) -> str:
    found = next((each for each in ranks.places if each.rank == rank), None)
    if found is None or found.host is None:
        return ""
    return (
        say("{device} of {host}", device=found.device, host=found.host)
        if found.device
        else found.host
    )
