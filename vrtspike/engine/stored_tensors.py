"""Reading files of tensors written by PyTorch, without running any code they hold."""

import warnings
from pathlib import Path
from typing import Any

import torch

from vrtspike.errors import CheckpointError
from vrtspike.model.weights_file import UNREADABLE


def read_tensors(path: Path, what: str) -> dict[Any, Any]:
    """The mapping that a file holds, on the CPU; tensors and plain values only, no objects.

    Args:
        path: the file.
        what: what the file should be, for the message.

    Raises:
        CheckpointError: missing, unreadable, or no mapping; one line that names the file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file ({what} expected)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was pickled; the error says it
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: cannot be read as {what}: cut short, damaged or of another kind "
            f"({type(error).__name__})"
        ) from None
    if not isinstance(stored, dict):
        raise CheckpointError(f"{path}: holds a {type(stored).__name__}, not {what}")
    return stored
