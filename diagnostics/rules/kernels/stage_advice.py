"""The switches of one stage. Gains are parts of its measured time, or unknown."""

from diagnostics.language import say
from diagnostics.rules.finding import DEVICE_MEMORY, Advice, ConfigChange, Gain
from diagnostics.rules.kernels.depth_advice import RETRAIN, less_depth, with_backward
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.numerics.quality_dropped import quality_dropped
from diagnostics.rules.reasons import verify


def stage_switches(measured: Measurements, stage: str) -> list[Advice | None]:
    """The switches that make one stage cheaper, by its name."""
    if quality_dropped(measured):
        return []  # every one of them costs quality or needs a new training
    if stage.startswith("vrt.stage"):
        return [less_depth(measured, stage), _smaller_window(measured)]
    if stage.startswith("fusion"):
        return [_larger_chunks(measured, "FUSE", stage), _without_first_fusion(measured, stage)]
    if stage == "temporal_attention":
        return [_larger_chunks(measured, "SPIKE_TSA", stage)]
    return []


def _smaller_window(measured: Measurements) -> Advice | None:
    if measured.whole_setting("MODEL.WINDOW_SIZE") != 8:
        return None
    return Advice(
        text=say(
            "Use windows of 6 instead of 8: 44 % less work in the attention scores, but not "
            "in projections and MLPs. The performance guide claims 20-30 % of stage 8; that "
            "was not measured here. {retrain}",
            retrain=RETRAIN,
        ),
        config_change=ConfigChange(key="MODEL.WINDOW_SIZE", current=8, proposed=6),
        verify=verify("vrt.stage8 shorter; validation PSNR as before"),
    )


def _larger_chunks(measured: Measurements, section: str, stage: str) -> Advice | None:
    key = f"MODEL.{section}.CHUNK_SIZE"
    current = measured.whole_setting(key)
    if current is None or current >= 96 or measured.device != "cuda":
        return None
    return Advice(
        text=say(
            "Attend in larger chunks (96 instead of {current} pixels): fewer, larger "
            "kernels. The performance guide claims 20-30 % of the fusion; that was not "
            "measured here.",
            current=current,
        ),
        config_change=ConfigChange(key=key, current=current, proposed=96),
        verify=verify(say("{stage} shorter, GPU memory below 90 %", stage=stage)),
        towards=(DEVICE_MEMORY, "more"),
    )


def _without_first_fusion(measured: Measurements, stage: str) -> Advice | None:
    scales = measured.setting("MODEL.FUSE.SCALES")
    if stage != "fusion1" or not isinstance(scales, list | tuple) or 1 not in scales:
        return None
    rest = tuple(scale for scale in scales if scale != 1)
    saved_ms = measured.stage_ms[stage]
    return Advice(
        text=say(
            "Leave the fusion after stage 1 out and fuse at the smaller scales only. {retrain}",
            retrain=RETRAIN,
        ),
        config_change=ConfigChange(key="MODEL.FUSE.SCALES", current=tuple(scales), proposed=rest),
        predicted_gain=Gain(low_ms=0.0, mid_ms=saved_ms, high_ms=with_backward(measured, saved_ms)),
        verify=verify("fusion1 gone; validation PSNR as before"),
    )
