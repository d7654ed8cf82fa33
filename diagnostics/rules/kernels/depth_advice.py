"""Less depth for one stage of the network. The gain is a part of its measured time."""

from typing import Any

from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange, Gain
from diagnostics.rules.measurements import MAX_SETTING, Measurements
from diagnostics.rules.reasons import verify

LEAST_DEPTH = 4
"""Shallower stages are left alone: half of so little is another network."""

NUM_TRUNK_STAGES = 7
RETRAIN = "This is another network: it needs a new training, and older checkpoints do not load."


def less_depth(measured: Measurements, stage: str) -> Advice | None:
    """Fewer blocks for this stage; for the trunk's last one, half of all that follow."""
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
        text=say(
            "Make {stage} shallower ({now} -> {less} blocks): its forward would save "
            "about {saved_ms:.1f} ms if time follows depth, and its backward likewise. "
            "{retrain}",
            stage=stage,
            now=_listed(own),
            less=_listed(less),
            saved_ms=saved_ms,
            retrain=RETRAIN,
        ),
        config_change=ConfigChange(
            key="MODEL.VRT_DEPTHS", current=tuple(depths), proposed=proposed
        ),
        predicted_gain=Gain(
            low_ms=0.0, mid_ms=saved_ms, high_ms=max(saved_ms, with_backward(measured, saved_ms))
        ),
        verify=verify(say("{stage} shorter; validation PSNR as before", stage=stage)),
    )


def with_backward(measured: Measurements, saved_ms: float) -> float:
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
