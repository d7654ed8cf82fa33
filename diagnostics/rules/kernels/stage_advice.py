"""The switches of one stage. Gains are parts of its measured time, or unknown."""

from typing import Any

from diagnostics.rules.finding import Advice, ConfigChange, Gain
from diagnostics.rules.measurements import MAX_SETTING, Measurements
from diagnostics.rules.numerics.quality_dropped import quality_dropped
from diagnostics.rules.reasons import verify

LEAST_DEPTH = 4
"""Shallower stages are left alone: half of so little is another network."""

NUM_TRUNK_STAGES = 7
RETRAIN = "This is another network: it needs a new training, and older checkpoints do not load."


def stage_switches(measured: Measurements, stage: str) -> list[Advice | None]:
    """The switches that make one stage cheaper, by its name."""
    if quality_dropped(measured):
        return []  # every one of them costs quality or needs a new training
    if stage.startswith("vrt.stage"):
        return [_less_depth(measured, stage), _smaller_window(measured)]
    if stage.startswith("fusion"):
        return [_larger_chunks(measured, "FUSE", stage), _without_first_fusion(measured, stage)]
    if stage == "temporal_attention":
        return [_larger_chunks(measured, "SPIKE_TSA", stage)]
    return []


def _less_depth(measured: Measurements, stage: str) -> Advice | None:
    depths = measured.setting("MODEL.VRT_DEPTHS")
    number = stage.removeprefix("vrt.stage")
    if not _is_depths(depths) or not number.isdigit() or int(number) not in range(1, 9):
        return None
    index = int(number) - 1
    own = depths[index:] if index == NUM_TRUNK_STAGES else depths[index : index + 1]
    less = [_fewer_blocks(depth, halve=index == NUM_TRUNK_STAGES) for depth in own]
    if less == own:
        return None
    saved_ms = measured.stage_ms.get(stage, 0.0) * (1 - sum(less) / sum(own))
    proposed = (*depths[:index], *less, *depths[index + len(own) :])
    return Advice(
        text=f"Make {stage} shallower ({_listed(own)} -> {_listed(less)} blocks): its forward "
        f"would save about {saved_ms:.1f} ms if time follows depth, and its backward likewise. "
        f"{RETRAIN}",
        config_change=ConfigChange(
            key="MODEL.VRT_DEPTHS", current=tuple(depths), proposed=proposed
        ),
        predicted_gain=Gain(
            low_ms=0.0, mid_ms=saved_ms, high_ms=max(saved_ms, _with_backward(measured, saved_ms))
        ),
        verify=verify(f"{stage} shorter; validation PSNR as before"),
    )


def _with_backward(measured: Measurements, saved_ms: float) -> float:
    """The saving in forward and backward together, if the backward follows the forward."""
    backward, forward = measured.phase_ms.get("backward"), measured.forward_ms
    if backward is None or not forward:
        return saved_ms
    return saved_ms * (1 + backward / forward)


def _fewer_blocks(depth: int, *, halve: bool) -> int:
    if depth < LEAST_DEPTH:
        return depth
    return depth // 2 if halve else depth - max(1, depth // 4)


def _is_depths(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > NUM_TRUNK_STAGES
        and all(isinstance(depth, int) and 0 < depth <= MAX_SETTING for depth in value)
    )


def _listed(depths: list[int]) -> str:
    return ", ".join(str(depth) for depth in depths)


def _smaller_window(measured: Measurements) -> Advice | None:
    if measured.whole_setting("MODEL.WINDOW_SIZE") != 8:
        return None
    return Advice(
        text="Use windows of 6 instead of 8: 44 % less work in the attention scores, but not in "
        "projections and MLPs. The performance guide claims 20-30 % of stage 8; that was not "
        f"measured here. {RETRAIN}",
        config_change=ConfigChange(key="MODEL.WINDOW_SIZE", current=8, proposed=6),
        verify=verify("vrt.stage8 shorter; validation PSNR as before"),
    )


def _larger_chunks(measured: Measurements, section: str, stage: str) -> Advice | None:
    key = f"MODEL.{section}.CHUNK_SIZE"
    current = measured.whole_setting(key)
    if current is None or current >= 96 or measured.device != "cuda":
        return None
    return Advice(
        text=f"Attend in larger chunks (96 instead of {current} pixels): fewer, larger kernels. "
        "The performance guide claims 20-30 % of the fusion; that was not measured here.",
        config_change=ConfigChange(key=key, current=current, proposed=96),
        verify=verify(f"{stage} shorter, GPU memory below 90 %"),
    )


def _without_first_fusion(measured: Measurements, stage: str) -> Advice | None:
    scales = measured.setting("MODEL.FUSE.SCALES")
    if stage != "fusion1" or not isinstance(scales, list | tuple) or 1 not in scales:
        return None
    rest = tuple(scale for scale in scales if scale != 1)
    saved_ms = measured.stage_ms[stage]
    return Advice(
        text=f"Leave the fusion after stage 1 out and fuse at the smaller scales only. {RETRAIN}",
        config_change=ConfigChange(key="MODEL.FUSE.SCALES", current=tuple(scales), proposed=rest),
        predicted_gain=Gain(
            low_ms=0.0, mid_ms=saved_ms, high_ms=_with_backward(measured, saved_ms)
        ),
        verify=verify("fusion1 gone; validation PSNR as before"),
    )
