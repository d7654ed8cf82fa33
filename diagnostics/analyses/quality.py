"""The course of the validation: how much sharper than its blurry input the output is."""

from dataclasses import dataclass


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

    `num_numerics_events` counts the trainer's reports of NaN or Inf, `first_numerics_step` is the
    step of the first. `first_loss` and `last_loss` are medians over the first and the last tenth
    of the steps.
    """

    points: tuple[ValidationPoint, ...] = ()
    best: ValidationPoint | None = None
    last: ValidationPoint | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    num_numerics_events: int = 0
    first_numerics_step: int | None = None
