"""How well the machine was sampled, and what that cost: gaps, lost samples, CPU time."""

from dataclasses import dataclass

import pandas as pd

from diagnostics.analyses.levels import known, rate
from diagnostics.run import Run

GAP_INTERVALS = 2.5
"""A longer time between two samples than so many intervals is a gap: more than one was missed."""


@dataclass(frozen=True, kw_only=True)
class SamplingSummary:
    """One machine's sampler.

    `core_share` is its CPU time per second, `pss_core_share` the part of it for reading PSS; None
    in facts that do not tell. `gap_s` is the time in gaps altogether.
    """

    host: str
    num_samples: int
    interval_s: float | None
    samples_per_s: float | None
    missed: int | None
    num_gaps: int | None
    gap_s: float | None
    longest_gap_s: float | None
    core_share: float | None
    pss_core_share: float | None
    lost_lines: int | None


def compute_sampling(run: Run) -> tuple[SamplingSummary, ...]:
    """One summary for each machine in the table `sampler`."""
    rows = run.tables.sampler
    return tuple(
        _summary(str(host), rows[rows["host"] == host]) for host in sorted(rows["host"].unique())
    )


def _summary(host: str, rows: pd.DataFrame) -> SamplingSummary:
    ordered = rows.sort_values("at_unix_s")
    spans = ordered["at_unix_s"].diff().iloc[1:]
    # A sample holds the interval by which the next one is due.
    gaps = spans[spans > GAP_INTERVALS * ordered["interval_s"].shift().iloc[1:]]
    return SamplingSummary(
        host=host,
        num_samples=len(rows),
        interval_s=known(rows["interval_s"].median()),
        samples_per_s=len(spans) / float(spans.sum()) if spans.sum() > 0 else None,
        missed=_whole(rows["missed"].max()),
        num_gaps=len(gaps),
        gap_s=float(gaps.sum()),
        longest_gap_s=known(spans.max()),
        core_share=rate(rows, "cpu_s"),
        pss_core_share=rate(rows, "pss_cpu_s"),
        lost_lines=_whole(rows["lost_lines"].max()),
    )


def _whole(value: float) -> int | None:
    return None if pd.isna(value) else int(value)
