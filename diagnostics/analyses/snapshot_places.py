"""Which line of the program, and which stage of the network, an allocation belongs to. Pure."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from diagnostics.memory_snapshot import Frame

UNKNOWN_PLACE = "unknown (allocated before the history began, or without a Python frame)"
_FOREIGN = ("/torch/", "/site-packages/", "/dist-packages/", "/lib/python", "<frozen")
_STAGES = {
    "optical_flow.py": "flow",
    "spike_encoder.py": "spike_encoder",
    "temporal_attention.py": "temporal_attention",
    "fusion.py": "fusion",
    "trunk.py": "vrt.stage1 to 8",
    "optim.py": "optimizer",
}
"""Files of our own network, the innermost of which tells the stage where no label does."""
_OUTSIDE = (("/torch/optim/", "optimizer"), ("/torch/autograd/", "backward"))


def place_of(stack: Sequence[Frame]) -> str:
    """The innermost line that is neither PyTorch's nor Python's own, else the innermost."""
    own = next((frame for frame in stack if not _is_foreign(frame.file)), None)
    frame = own or (stack[0] if stack else None)
    if frame is None:
        return UNKNOWN_PLACE
    return f"{_short(frame.file)}:{frame.line} {frame.function}"


def stage_of(stack: Sequence[Frame], label: str = "") -> str | None:
    """What the label says (`stage=vrt.stage3 phase=forward`), else what the files tell."""
    said = labelled(label, "stage")
    if said is not None:
        phase = labelled(label, "phase")
        return f"{said} {phase}" if phase else said
    for frame in stack:
        if (stage := _STAGES.get(PurePosixPath(frame.file).name)) is not None:
            return stage
    for frame in stack:
        for part, stage in _OUTSIDE:
            if part in frame.file:
                return stage
    return None


def labelled(label: str, key: str) -> str | None:
    """The value of a key in a label; None where it has none."""
    for word in label.split():
        name, _, value = word.partition("=")
        if name == key and value:
            return value
    return None


def _is_foreign(file: str) -> bool:
    return any(part in file for part in _FOREIGN)


def _short(file: str) -> str:
    """The file with the folder that it lies in."""
    return "/".join(PurePosixPath(file).parts[-2:])
