"""From the ranks' traces side by side to what the rule about a slow rank needs of them."""

from collections.abc import Iterable
from statistics import median
from typing import Any

from diagnostics.analyses.trace_ranks import TraceRanks
from diagnostics.language import say

LEAST_STEPS = 5
"""With two equal ranks one is the slowest in 5 of 5 steps by chance in 6 runs of 100."""
TOO_FEW = "the traces of the ranks have {steps} step(s) in common; at least {least} are needed"


def measure_trace_ranks(found: TraceRanks) -> dict[str, Any]:
    """The slowest rank by traces; why there is none; nothing where the ranks were not traced."""
    if found.why_not is not None or len(found.ranks) < 2:
        return {}
    if found.num_steps < LEAST_STEPS:
        reason = say(TOO_FEW, steps=found.num_steps, least=LEAST_STEPS)
        return {"ranks_not_compared": reason, "num_rank_steps": found.num_steps}
    slowest = next((each for each in found.ranks if each.rank == found.slowest_rank), None)
    if slowest is None or found.cost_ms_per_step is None:
        return {}
    others = [each for each in found.ranks if each is not slowest]
    own = [each.own_ms - each.data_wait_ms for each in others]
    excess_ms = {
        "input": slowest.data_wait_ms - _typical(each.data_wait_ms for each in others),
        "compute": slowest.own_ms - slowest.data_wait_ms - _typical(own),
    }
    # In the other steps another rank was the slowest: what they show speaks against this one.
    net_share = max(0.0, 2 * slowest.slowest_share - 1)
    return {
        "rank_slowest": slowest.rank,
        "rank_cause": max(excess_ms, key=lambda cause: excess_ms[cause]),
        "rank_excess_ms": excess_ms,
        "rank_cost_ms": found.cost_ms_per_step,
        "rank_cost_low_ms": net_share * found.cost_ms_per_step,
        "rank_step_ms": slowest.step_ms,
        "rank_slowest_share": slowest.slowest_share,
        "num_rank_steps": found.num_steps,
    }


def _typical(values: Iterable[float]) -> float:
    return float(median(values))
