"""Learning from a teacher: a frozen model whose output the student imitates."""

from pathlib import Path

import torch
from torch import Tensor

from vrtspike.config import Config, config_from_mapping
from vrtspike.engine.checkpoint import load_weights, read_checkpoint
from vrtspike.engine.clip_model import Clips, call_model
from vrtspike.errors import CheckpointError
from vrtspike.model.build import build_model


class Teacher:
    """The model of a checkpoint, built from the configuration inside it, frozen."""

    def __init__(self, path: Path, student: Config, device: torch.device) -> None:
        """Read the checkpoint.

        Raises:
            CheckpointError: unreadable, or its spike input is not the student's.
        """
        checkpoint = read_checkpoint(path)
        config = config_from_mapping(checkpoint.config, str(path))
        _check_same_input(path, config, student)
        model = build_model(
            config.model,
            clip_len=config.data.clip_len,
            crop_size=config.data.crop_size,
            bins=config.data.k,
        )
        load_weights(model, checkpoint, path)
        self._use_spike = config.model.use_spike
        self._model = model.to(device).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def __call__(self, clips: Clips) -> Tensor:
        """The teacher's restoration of the clips."""
        return call_model(self._model, clips, use_spike=self._use_spike)


def _check_same_input(path: Path, teacher: Config, student: Config) -> None:
    if not teacher.model.use_spike:
        return
    ours = (student.data.k, student.data.voxel_mode)
    theirs = (teacher.data.k, teacher.data.voxel_mode)
    if ours != theirs:
        raise CheckpointError(
            f"{path}: the teacher takes {theirs[0]} voxel bins of mode {theirs[1]}, this run makes "
            f"{ours[0]} of mode {ours[1]} (DATA.K, DATA.VOXEL_MODE)"
        )
