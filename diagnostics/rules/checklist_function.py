"""Whether the training works: the first group of the checklist."""

from dataclasses import replace

from diagnostics.analyses.quality import Quality
from diagnostics.language import say
from diagnostics.rules.checklist_item import (
    LIMITS,
    OVER_STEPS,
    ChecklistEvidence,
    ChecklistItem,
    Name,
    Reading,
    at_least,
    at_most,
    not_measured,
)

LOSS: Name = ("loss converges", "function")
QUALITY: Name = ("PSNR and SSIM acceptable", "function")
FINITE: Name = ("no NaN, no Inf", "function")
SAVED: Name = ("checkpoints are saved", "function")
LOADED: Name = ("checkpoints can be loaded", "function")

NO_LOSS = "no loss was recorded"
FEW_LOSSES = "{count} losses show no trend; train for at least {least} steps"
NO_TREND = "the loss neither falls nor rises clearly over steps {first} to {last}"
NO_VALIDATION = "no validation was run; set LOG.VAL_EVERY_STEPS"
NO_VALIDATION_OF_OTHERS = "no validation was recorded"
NOTHING_TO_HOLD_AGAINST = (
    "the validation states no PSNR of its input; give --baseline to hold it against another run"
)
NO_CHECKPOINT = "no checkpoint was saved; set LOG.CHECKPOINT_EVERY_STEPS"
NO_CHECKPOINT_OF_OTHERS = "no checkpoint was recorded"
NOT_RESUMED = "the run began afresh; `python -m vrtspike.train --resume auto` shows it"
NOT_RESUMED_OF_OTHERS = "nothing says that the run went on from a checkpoint"

AGAINST_INPUT = "above the PSNR of the blurry input"
LOWER_THAN_BASELINE = "PSNR lower than the baseline's after step {step}"
SSIM_DROPPED = "SSIM is lower than the baseline's beyond the limit"
RESUMED = "went on from {name}"


def loss_converges(known: ChecklistEvidence) -> ChecklistItem:
    """By the trend of the loss over the run."""
    trend = known.loss
    if trend is None:
        return not_measured(LOSS, NO_LOSS)
    if trend.num_steps < LIMITS["least_losses"].value:
        least = int(LIMITS["least_losses"].value)
        return not_measured(LOSS, say(FEW_LOSSES, count=trend.num_steps, least=least))
    if trend.low_share < 0 < trend.high_share:
        return not_measured(LOSS, say(NO_TREND, first=trend.first_step, last=trend.last_step))
    reading = Reading(
        value=trend.change_share,
        unit="share",
        source=known.measured.source("num_steps"),
        note=say(OVER_STEPS, count=trend.num_steps),
    )
    return at_most(LOSS, reading, LIMITS["loss_change"])


def quality_acceptable(known: ChecklistEvidence) -> ChecklistItem:
    """Against the baseline at the last step that both validated, else against the input."""
    shared = _shared_validation(known)
    if shared is not None:
        return shared
    last, source = known.analysis.quality.last, known.measured.source("psnr_last_db")
    if last is None or last.psnr_rgb_db is None:
        return not_measured(QUALITY, known.ours_or(NO_VALIDATION, NO_VALIDATION_OF_OTHERS))
    if last.gain_db is None:
        return not_measured(QUALITY, NOTHING_TO_HOLD_AGAINST)
    reading = Reading(value=last.gain_db, unit="db", source=source, note=AGAINST_INPUT)
    return at_least(QUALITY, reading, LIMITS["psnr_below_input"])


def _shared_validation(known: ChecklistEvidence) -> ChecklistItem | None:
    before = {each.step: each for each in (known.baseline_quality or Quality()).points}
    pairs = [
        (before[each.step], each)
        for each in known.analysis.quality.points
        if each.step in before
        and each.psnr_rgb_db is not None
        and before[each.step].psnr_rgb_db is not None
    ]
    if not pairs:
        return None
    old, new = pairs[-1]
    is_ssim_kept = (
        old.ssim_y is None
        or new.ssim_y is None
        or old.ssim_y - new.ssim_y <= LIMITS["ssim_drop"].value
    )
    reading = Reading(
        value=(old.psnr_rgb_db or 0.0) - (new.psnr_rgb_db or 0.0),
        unit="db",
        source=known.measured.source("psnr_last_db"),
        note=say(LOWER_THAN_BASELINE, step=new.step),
    )
    item = at_most(QUALITY, reading, LIMITS["psnr_drop"])
    return item if is_ssim_kept else replace(item, status="fail", note=SSIM_DROPPED)


def all_finite(known: ChecklistEvidence) -> ChecklistItem:
    """By the steps whose loss or gradients were not finite."""
    count, source = known.measured.num_nonfinite, known.measured.source("num_nonfinite")
    if count is None:
        return not_measured(FINITE, NO_LOSS)
    return at_most(FINITE, Reading(value=count, unit="count", source=source), LIMITS["not_finite"])


def checkpoints_saved(known: ChecklistEvidence) -> ChecklistItem:
    """By the checkpoints that the run tells of."""
    if not known.num_checkpoints:
        return not_measured(SAVED, known.ours_or(NO_CHECKPOINT, NO_CHECKPOINT_OF_OTHERS))
    source = known.measured.source("psnr_last_db")
    reading = Reading(value=known.num_checkpoints, unit="count", source=source)
    return at_least(SAVED, reading, LIMITS["checkpoints"])


def checkpoint_loaded(known: ChecklistEvidence) -> ChecklistItem:
    """A run that went on from a checkpoint has loaded one."""
    if known.resumed_from is None:
        return not_measured(LOADED, known.ours_or(NOT_RESUMED, NOT_RESUMED_OF_OTHERS))
    note = say(RESUMED, name=known.resumed_from)
    return ChecklistItem(
        item=LOADED[0], group=LOADED[1], status="pass", source="meta.json", note=note
    )
