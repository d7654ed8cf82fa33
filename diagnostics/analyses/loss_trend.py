"""Whether the loss falls: a robust slope over the ordinary steps, and what it amounts to."""

from dataclasses import dataclass

from diagnostics.analyses.robust_slope import theil_sen
from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class LossTrend:
    """The course of the loss over `num_steps` rows of steps, from `first_step` to `last_step`.

    `change_share` is what the Theil-Sen slope amounts to over them, as a share of the median loss,
    with the bounds of its 95 % interval; negative is falling.
    """

    num_steps: int
    first_step: int
    last_step: int
    median_loss: float
    change_share: float
    low_share: float
    high_share: float


def compute_loss_trend(run: Run) -> LossTrend | None:
    """The trend of the mean loss of all ranks; None without three steps that state one."""
    losses = select_ordinary(run.tables.steps).rows.groupby("step")["loss"].mean().dropna()
    if not len(losses):
        return None
    steps, median = losses.index.to_numpy(dtype="float64"), float(losses.median())
    slope = theil_sen(steps, losses.to_numpy(dtype="float64"))
    if slope is None or median <= 0:
        return None
    reach = float(steps[-1] - steps[0]) / median
    return LossTrend(
        num_steps=len(losses),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        median_loss=median,
        change_share=slope.value * reach,
        low_share=slope.low * reach,
        high_share=slope.high * reach,
    )
