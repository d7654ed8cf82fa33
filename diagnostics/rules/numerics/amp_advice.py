"""What helps when 16-bit numbers overflow: a smaller first scale, or bfloat16."""

from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

STEADY_SCALE = 1024.0
"""The first gradient scale that the performance guide advises: 2**10."""

FIRST_CAPABILITY_WITH_BF16 = 8.0
SIGN = "no NaN, no amp-overflows-often"


def amp_advice(measured: Measurements) -> tuple[Advice, ...]:
    """Advice for float16; empty when the run is known not to use it."""
    if measured.setting("TRAIN.AMP_ENABLED") is not True:
        return ()
    candidates = (_bfloat16(measured), _smaller_scale(measured))
    return tuple(item for item in candidates if item is not None)


def _bfloat16(measured: Measurements) -> Advice | None:
    capability = measured.compute_capability
    if measured.setting("TRAIN.AMP_DTYPE") != "fp16":
        return None
    if capability is None or capability < FIRST_CAPABILITY_WITH_BF16:
        return None
    return Advice(
        text="Use bfloat16, which this GPU has: it holds the range of 32-bit numbers and needs no "
        "loss scaling.",
        config_change=ConfigChange(key="TRAIN.AMP_DTYPE", current="fp16", proposed="bf16"),
        verify=verify(SIGN),
    )


def _smaller_scale(measured: Measurements) -> Advice | None:
    current = measured.number_setting("TRAIN.INIT_SCALE")
    if current is None or current <= STEADY_SCALE:
        return None
    if measured.setting("TRAIN.AMP_DTYPE") == "bf16":
        return None
    return Advice(
        text=say(
            "Begin with a gradient scale of {proposed:g} instead of {current:g}, if the "
            "run computes in float16.",
            proposed=STEADY_SCALE,
            current=current,
        ),
        config_change=ConfigChange(key="TRAIN.INIT_SCALE", current=current, proposed=STEADY_SCALE),
        verify=verify(SIGN),
    )
