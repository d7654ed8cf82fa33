"""Checkpoints: one file that holds all a run needs to continue as if it had never stopped.

A file is written under a temporary name, flushed to the disk and renamed, so `last.pt` is always
whole: the new one or the one before. It holds tensors and plain values only and is read with
`weights_only=True`. Parameter names are the bare model's, whatever wraps it.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vrtspike.engine.stored_tensors import read_tensors
from vrtspike.errors import CheckpointError

FORMAT = "vrtspike-checkpoint"
VERSION = 1
LAST = "last.pt"
BEST = "best.pt"
_KINDS: dict[str, Any] = {
    "run_id": str,
    "position": dict,
    "config": dict,
    "model": dict,
    "optimizer": dict,
    "scaler": dict,
    "random_states": list,
    "best_psnr_db": float | None,
}


@dataclass(frozen=True)
class Position:
    """How far a run is: optimizer steps done, and micro-batches taken of the epoch it is in.

    `clips` counts the clips of one micro-batch over all ranks, so that a run that resumes with
    another batch size or number of ranks finds its place in the epoch. `damaged` counts the samples
    of the epoch that could not be loaded so far, over all ranks.
    """

    step: int = 0
    epoch: int = 0
    micro_batch: int = 0
    clips: int = 1
    damaged: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 1 if name == "clips" else 0
            if type(value) is not int or value < least:
                raise TypeError(f"'position': {name} is {value!r}")

    def with_clips(self, clips: int) -> "Position":
        """The same place in the epoch, counted in micro-batches of `clips`."""
        micro_batch = self.micro_batch * self.clips // clips
        return replace(self, micro_batch=micro_batch, clips=clips)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that `last.pt` and `best.pt` hold.

    `random_states` has one entry for each rank; `config` has the YAML's own keys;
    `best_psnr_db` is the best validation PSNR (RGB) so far, None before the first validation.
    """

    run_id: str
    position: Position
    config: Mapping[str, Any]
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    scaler: Mapping[str, Any] = field(default_factory=dict)
    random_states: tuple[Mapping[str, Any], ...] = ()
    best_psnr_db: float | None = None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file atomically; on any failure the file that was there stays.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written; names the file.
    """
    body = {
        "format": FORMAT,
        "version": VERSION,
        **vars(checkpoint),
        "position": vars(checkpoint.position),
        "random_states": list(checkpoint.random_states),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, body)
    except (OSError, RuntimeError) as error:  # a full disk reaches torch.save as RuntimeError
        if "DataLoader worker" in str(error):  # raised here by chance, from a signal handler
            raise
        reason = _system_error(error) or error
        raise CheckpointError(f"{path}: the checkpoint cannot be written: {reason}") from error


def _system_error(error: BaseException | None) -> str | None:
    """What the system said: PyTorch hides a full disk behind an error of its own."""
    while error is not None:
        if isinstance(error, FileExistsError):  # of a folder that is made unless it is there
            return f"{error.filename} is no folder, or a link to one that is gone"
        if isinstance(error, OSError):
            return error.strerror or str(error)
        error = error.__cause__ or error.__context__
    return None


def _write_whole(path: Path, body: Mapping[str, Any]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(body, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint, on the CPU.

    Raises:
        CheckpointError: missing, damaged, or not one of ours; one line that names the file.
    """
    body = read_tensors(path, "a checkpoint")
    if body.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is no VRT-Spike checkpoint (no 'format: {FORMAT}' in it)")
    if body.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: has checkpoint version {body.get('version')}; this program reads {VERSION}"
        )
    for key, kind in _KINDS.items():
        if key in body and not isinstance(body[key], kind):
            raise CheckpointError(f"{path}: '{key}' in the checkpoint is of the wrong kind")
    try:
        return Checkpoint(
            run_id=str(body["run_id"]),
            position=Position(**body["position"]),
            config=body["config"],
            model=body["model"],
            optimizer=body["optimizer"],
            scaler=body["scaler"],
            random_states=tuple(body["random_states"]),
            best_psnr_db=body["best_psnr_db"],
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: the checkpoint lacks or mixes up {error}") from None


def load_weights(model: nn.Module, checkpoint: Checkpoint, source: Path) -> None:
    """Copy the weights into a bare model, strictly.

    Raises:
        CheckpointError: a weight is missing, too many, or of another shape; names the first.
    """
    wanted, stored = model.state_dict(), checkpoint.model
    for name, tensor in wanted.items():
        if name not in stored:
            raise CheckpointError(f"{source}: does not fit the model: no weight '{name}'")
        if stored[name].shape != tensor.shape:
            raise CheckpointError(
                f"{source}: does not fit the model: '{name}' is {tuple(stored[name].shape)}, "
                f"needed is {tuple(tensor.shape)}"
            )
    extra = sorted(set(stored) - set(wanted))
    if extra:
        raise CheckpointError(
            f"{source}: does not fit the model: {len(extra)} weights too many, first '{extra[0]}'"
        )
    model.load_state_dict(stored)
