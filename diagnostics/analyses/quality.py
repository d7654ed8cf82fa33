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

    `first_bad_loss_step` is the first step whose loss was not finite, `num_numerics_events` how
    often the trainer reported NaN or Inf. `first_loss` and `last_loss` are medians of the first
    and last tenth of the steps.
    """

    points: tuple[ValidationPoint, ...] = ()
    best: ValidationPoint | None = None
    last: ValidationPoint | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    first_bad_loss_step: int | None = None
    num_numerics_events: int = 0
