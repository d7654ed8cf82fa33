"""Summaries of sampled quantities: levels, rates of counters, shares of time."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import quantile


@dataclass(frozen=True, kw_only=True)
class Level:
    """A sampled quantity; None where no sample held it. Its unit stands in the field's name."""

    count: int
    mean: float | None
    median: float | None
    p95: float | None
    peak: float | None


def level(values: "pd.Series[float]") -> Level:
    """The summary of what is known of the values."""
    known = values.dropna().to_numpy(dtype="float64")
    if not len(known):
        return Level(count=0, mean=None, median=None, p95=None, peak=None)
    return Level(
        count=len(known),
        mean=float(known.mean()),
        median=quantile(known, 0.5),
        p95=quantile(known, 0.95),
        peak=float(known.max()),
    )


def growth(rows: pd.DataFrame, column: str) -> tuple[float, float] | None:
    """What a counter grew by, and the seconds between its first and last value.

    A counter that falls has begun anew. None with fewer than two values.
    """
    held = rows.dropna(subset=[column]).sort_values("at_unix_s")
    time_s = float(held["at_unix_s"].max() - held["at_unix_s"].min()) if len(held) else 0.0
    return (float(held[column].diff().clip(lower=0.0).sum()), time_s) if time_s > 0 else None


def rate(rows: pd.DataFrame, column: str) -> float | None:
    """Growth of the counter per second."""
    grown = growth(rows, column)
    return None if grown is None else grown[0] / grown[1]


def share_of_time(rows: pd.DataFrame, column: str) -> float | None:
    """Growth of a counter of microseconds as a share of the time."""
    grown = growth(rows, column)
    return None if grown is None else grown[0] / (grown[1] * 1e6)


def known(value: float) -> float | None:
    """The number, or None for NaN."""
    return None if np.isnan(value) else float(value)
