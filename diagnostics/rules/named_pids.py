"""How several processes are named that are judged together."""

from collections.abc import Sequence

from diagnostics.language import listed, say

MOST_PIDS = 4
"""So many are named; of more, those that grew most."""


def named_pids(pids: Sequence[int]) -> str:
    """Behind a count of processes, the one that grew most first; empty where none is known."""
    if not pids:
        return ""
    named = listed(map(str, pids[:MOST_PIDS]), ", ")
    if len(pids) <= MOST_PIDS:
        return say(" ({pids})", pids=named)
    return say(" (most of all {pids})", pids=named)
