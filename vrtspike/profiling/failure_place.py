"""Where an error came from: stage, phase, line and the tensors at hand, by its traceback alone.

An allocation that fails leaves its stack behind, and in it the modules that were running. Inside
autograd there is no frame of the model, except where a part of it is being recomputed.
"""

from collections.abc import Callable, Iterator
from types import FrameType

import torch
from torch import Tensor, nn

from vrtspike.profiling.stacks import frame_of, places

MAX_FRAMES = 400
MAX_TENSORS = 6
_AUTOGRAD, _CHECKPOINT, _OPTIMIZER = "torch.autograd", "torch.utils.checkpoint", "torch.optim"
Values = dict[str, float | int | str | None]


def failure_place(
    error: BaseException, stage_of: Callable[[nn.Module], str | None], *, redact: bool
) -> Values:
    """What the traceback tells, for an event; keys without an answer are left out.

    Args:
        error: As it was caught.
        stage_of: The stage that a module is, if it is one.
        redact: Leave file names out.
    """
    stack = list(_stack(error))
    frames = [frame for frame, _ in stack]
    modules = [module for frame in frames if (module := _module(frame)) is not None]
    stages = [stage for module in modules if (stage := stage_of(module)) is not None]
    own = [
        frame_of(frame, line, redact=redact)
        for frame, line in reversed(stack)
        if not _name(frame).startswith("torch.")
    ]
    found: Values = {
        "stage": stages[-1] if stages else None,
        "phase": _phase(frames, is_in_model=bool(modules)),
        "place": places(own),
        "shapes": _shapes(frames),
    }
    return {name: value for name, value in found.items() if value is not None}


def _stack(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames, the outermost first."""
    trace = error.__traceback__
    for _ in range(MAX_FRAMES):
        if trace is None:
            return
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _module(frame: FrameType) -> nn.Module | None:
    held = frame.f_locals.get("self")
    return held if isinstance(held, nn.Module) else None


def _phase(frames: list[FrameType], *, is_in_model: bool) -> str | None:
    """Of a part that is recomputed, the frames of the model lie inside those of autograd."""
    names = [_name(frame) for frame in frames]
    if any(name.startswith(_AUTOGRAD) for name in names):
        is_again = any(name.startswith(_CHECKPOINT) for name in names)
        return "recompute" if is_again and is_in_model else "backward"
    if any(name.startswith(_OPTIMIZER) for name in names):
        return "optimizer"
    return "forward" if is_in_model else None


def _shapes(frames: list[FrameType]) -> str | None:
    """The largest tensors among the names of the innermost frame that has any."""
    for frame in reversed(frames):
        held = [(name, each) for name, each in frame.f_locals.items() if _is_plain(each)]
        if held:
            held.sort(key=lambda pair: -pair[1].numel())
            return ", ".join(_shape(name, each) for name, each in held[:MAX_TENSORS])
    return None


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided


def _shape(name: str, tensor: Tensor) -> str:
    sides = "x".join(map(str, tensor.shape)) or "scalar"
    return f"{name} {sides} {str(tensor.dtype).removeprefix('torch.')}"
