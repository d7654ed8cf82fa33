"""From the account of a kill to what rules need of it. Pure."""

from typing import Any

from diagnostics.analyses.kill_account import KillAccount

KILL_FIELDS = ("killer", "num_oom_kills", "kill_largest_bytes", "kill_grown_bytes")
"""Fields that are read from the resource samples."""


def kill_fields(account: KillAccount | None) -> dict[str, Any]:
    """Nothing without a kill."""
    if account is None:
        return {}
    fields: dict[str, Any] = {
        "killer": account.killer,
        "kill_victim": account.victim,
        "kill_memory": account.memory,
        "num_oom_kills": account.count,
    }
    if account.last is not None and account.last.processes:
        largest, grown = account.last.processes[0], account.last.most_grown
        fields |= {
            "kill_largest": largest.role,
            "kill_largest_bytes": largest.size_bytes,
            "kill_grown": None if grown is None else grown.role,
            "kill_grown_bytes": None if grown is None else grown.grown_bytes,
        }
    return fields | {"kill_limit_bytes": _limit(account)}


def _limit(account: KillAccount) -> int | None:
    """Of the group where it was met, else of the machine as it was last seen."""
    if account.counters is not None and account.memory == "group":
        return account.counters.limit_bytes
    return None if account.last is None else account.last.limit_bytes
