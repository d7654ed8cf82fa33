"""How the training itself goes: learning rates of zero, clipped gradients, a loss that stands."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnostics.analyses.robust_slope import theil_sen
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class LearningCourse:
    """Figures of the lowest rank's steps; None was not recorded.

    `num_zero_rate` counts steps with a learning rate of 0, of `num_rates`. `clipped_share` is the
    share of steps whose gradient was longer than `max_grad_norm`. `loss_change_share` is what the
    loss changed by over the second half of the steps, as a share of its median there, with the
    bounds of its 95 % interval; `num_losses` counts the losses of that half.
    """

    num_rates: int = 0
    num_zero_rate: int | None = None
    clipped_share: float | None = None
    num_norms: int = 0
    num_losses: int = 0
    loss_change_share: float | None = None
    loss_change_low_share: float | None = None
    loss_change_high_share: float | None = None


def compute_learning_course(run: Run, max_grad_norm: float | None) -> LearningCourse:
    """From the table `steps`; `max_grad_norm` as configured, None where it is not known."""
    steps = run.tables.steps
    rows = steps[steps["rank"] == steps["rank"].min()].sort_values("step")
    rates, norms = rows["lr"].dropna(), rows["grad_norm"].dropna()
    clipped = None
    if max_grad_norm is not None and len(norms):
        clipped = float((norms > max_grad_norm).mean())
    return LearningCourse(
        num_rates=len(rates),
        num_zero_rate=int((rates == 0).sum()) if len(rates) else None,
        clipped_share=clipped,
        num_norms=len(norms),
        **_loss_change(rows),
    )


def _loss_change(rows: pd.DataFrame) -> dict[str, Any]:
    losses = rows.dropna(subset=["loss"])
    late = losses.iloc[len(losses) // 2 :]
    steps, values = late["step"].to_numpy("float64"), late["loss"].to_numpy("float64")
    level = float(np.median(values)) if len(values) else 0.0
    slope = theil_sen(steps, values) if len(values) > 2 else None
    if slope is None or level <= 0:
        return {"num_losses": len(values)}
    length = float(steps[-1] - steps[0])
    return {
        "num_losses": len(values),
        "loss_change_share": slope.value * length / level,
        "loss_change_low_share": slope.low * length / level,
        "loss_change_high_share": slope.high * length / level,
    }
