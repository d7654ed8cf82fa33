"""The course of the validation: how much sharper than its blurry input the output is."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class ValidationPoint:
    """One validation; None is not stated. `gain_db` is output minus input PSNR over RGB."""

    step: int
    psnr_rgb_db: float | None
    psnr_y_db: float | None
    ssim_y: float | None
    input_psnr_rgb_db: float | None
    gain_db: float | None


@dataclass(frozen=True, kw_only=True)
class Quality:
    """All validations by step; `best` is the one with the highest PSNR over RGB.

    `first_loss` and `last_loss` are medians over the first and the last tenth of the steps.
    """

    points: tuple[ValidationPoint, ...] = ()
    best: ValidationPoint | None = None
    last: ValidationPoint | None = None
    first_loss: float | None = None
    last_loss: float | None = None


def compute_quality(run: Run) -> Quality:
    """The course of validation and loss, from facts or log."""
    points = tuple(_point(row) for row in run.tables.validations.to_dict("records"))
    rated = [each for each in points if each.psnr_rgb_db is not None]
    first_loss, last_loss = _first_and_last_loss(run.tables.steps)
    return Quality(
        points=points,
        best=max(rated, key=lambda each: each.psnr_rgb_db or 0.0, default=None),
        last=points[-1] if points else None,
        first_loss=first_loss,
        last_loss=last_loss,
    )


def _point(row: Mapping[Hashable, Any]) -> ValidationPoint:
    output, before = _known(row["psnr_rgb_db"]), _known(row["input_psnr_rgb_db"])
    return ValidationPoint(
        step=int(row["step"]),
        psnr_rgb_db=output,
        psnr_y_db=_known(row["psnr_y_db"]),
        ssim_y=_known(row["ssim_y"]),
        input_psnr_rgb_db=before,
        gain_db=None if output is None or before is None else output - before,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _first_and_last_loss(steps: pd.DataFrame) -> tuple[float | None, float | None]:
    losses = steps.groupby("step")["loss"].mean().dropna()
    if not len(losses):
        return None, None
    tenth = max(1, len(losses) // 10)
    return float(losses.iloc[:tenth].median()), float(losses.iloc[-tenth:].median())
