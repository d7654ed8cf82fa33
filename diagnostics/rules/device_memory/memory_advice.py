"""What frees GPU memory: precision, checkpointing, batch. The loader and its cache do not."""

from dataclasses import replace

from diagnostics.language import say
from diagnostics.rules.finding import DEVICE_MEMORY, Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

SIGN = "GPU memory below 90 %"


def device_memory_advice(measured: Measurements) -> tuple[Advice, ...]:
    """The switches that lower GPU memory, those that keep the result first."""
    candidates = (
        _amp(measured),
        _checkpointing(measured, "USE_CHECKPOINT_ATTN", "attention"),
        _checkpointing(measured, "USE_CHECKPOINT_FFN", "feed-forward layers"),
        smaller_batch(measured, SIGN),
    )
    advice = tuple(item for item in candidates if item is not None) or (_look_closer(measured),)
    return tuple(replace(item, towards=(DEVICE_MEMORY, "less")) for item in advice)


def _amp(measured: Measurements) -> Advice | None:
    if measured.setting("TRAIN.AMP_ENABLED") is not False:
        return None
    return Advice(
        text="Switch mixed precision on: activations take half the bytes where 16 bits suffice.",
        config_change=ConfigChange(key="TRAIN.AMP_ENABLED", current=False, proposed=True),
        verify=verify(say("{sign}, loss finite", sign=SIGN)),
    )


def _checkpointing(measured: Measurements, switch: str, what: str) -> Advice | None:
    key = f"MODEL.VRT.{switch}"
    if measured.setting(key) is not False:
        return None
    return Advice(
        text=say(
            "Recompute the activations of the {what} in the backward pass instead of keeping "
            "them; the result stays the same, the step becomes slower.",
            what=what,
        ),
        config_change=ConfigChange(key=key, current=False, proposed=True),
        verify=verify(say("{sign}, and how much longer backward takes", sign=SIGN)),
    )


def smaller_batch(measured: Measurements, sign: str) -> Advice | None:
    """Half the batch with twice the accumulation, where the batch is known to be above 1."""
    current = measured.whole_setting("TRAIN.BATCH_SIZE")
    accumulation = measured.whole_setting("TRAIN.GRADIENT_ACCUMULATION_STEPS")
    if current is None or current <= 1:
        return None
    passes = ""
    if accumulation is not None:
        passes = say(
            " and accumulate over {more} instead of {accumulation} passes",
            more=2 * accumulation,
            accumulation=accumulation,
        )
    return Advice(
        text=say(
            "Halve the batch of {current}{passes}, so that an optimizer step sees about as many "
            "clips as now.",
            current=current,
            passes=passes,
        ),
        config_change=ConfigChange(key="TRAIN.BATCH_SIZE", current=current, proposed=current // 2),
        verify=verify(sign),
    )


def _look_closer(measured: Measurements) -> Advice:
    if measured.is_own_loop or measured.is_trainer_unknown or not measured.config:
        text = (
            "What lowers it in any loop: mixed precision (torch.autocast, bfloat16), recomputing "
            "activations (torch.utils.checkpoint), half the batch with twice the accumulation, and "
            "a smaller crop or a shorter input."
        )
    else:
        text = (
            "Precision, checkpointing and batch are already as low as they go (accumulating saves "
            "nothing at batch 1): what is left is a smaller crop (DATA.CROP_SIZE), a shorter clip "
            "(DATA.CLIP_LEN) or a smaller network."
        )
    return Advice(text=text, verify=verify(SIGN))
