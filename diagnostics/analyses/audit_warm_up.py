"""Slow steps at the begin of a series: what the start of a run adds to the mean of its steps."""

from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array

SLOW_RATIO = 1.5
"""A step this much longer than the typical one is slow; loadtune calls p90 / p50 of 1.5 jitter."""
LEAST_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Leading slow steps; `added_share` is how much longer the mean is than without them."""

    num_steps: int
    first_ratio: float
    added_share: float


def warm_up(step_ms: Array) -> WarmUp | None:
    """The slow steps before the first typical one; None for too few steps to tell.

    Typical is the median of the second half, which no warm-up of less than half of the steps
    reaches.
    """
    step_ms = np.asarray(step_ms, np.float64)
    if len(step_ms) < LEAST_STEPS:
        return None
    typical = float(np.median(step_ms[len(step_ms) // 2 :]))
    if typical <= 0:
        return None
    slow = step_ms > SLOW_RATIO * typical
    count = len(slow) if slow.all() else int(np.argmin(slow))
    rest = step_ms[count:]
    if not count or not len(rest) or rest.mean() <= 0:
        return WarmUp(num_steps=0, first_ratio=float(step_ms[0]) / typical, added_share=0.0)
    return WarmUp(
        num_steps=count,
        first_ratio=float(step_ms[0]) / typical,
        added_share=float(step_ms.mean() / rest.mean()) - 1.0,
    )
