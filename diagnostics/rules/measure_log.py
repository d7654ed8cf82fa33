"""From what a text log claims to what rules need of it."""

from typing import Any

from diagnostics.analyses.log_claims import LogClaims


def measure_log(claims: LogClaims) -> dict[str, Any]:
    """The fields of the measurements about a text log's own figures."""
    return {
        "leaves_fetch_out": claims.leaves_fetch_out,
        "data_time_ms": claims.data_time_ms,
        "wall_step_ms": claims.wall_step_ms,
        "timed_step_ms": claims.timed_step_ms,
        "untimed_ms": claims.untimed_ms,
        "untimed_low_ms": claims.untimed_low_ms,
        "rate_claims": {
            each.name: (each.stated, each.computed, each.rounding) for each in claims.rates
        },
    }
