"""Learning from a teacher: a frozen model whose output the student imitates."""

from pathlib import Path

import torch
from torch import Tensor

from vrtspike.config import Config
from vrtspike.engine.clip_model import Clips, call_model
from vrtspike.engine.stored_model import load_model
from vrtspike.errors import CheckpointError


class Teacher:
    """The model of a checkpoint, built from the configuration inside it, frozen."""

    def __init__(self, path: Path, student: Config, device: torch.device) -> None:
        """Read the checkpoint.

        Raises:
            CheckpointError: unreadable, or its spike input is not the student's.
        """
        stored = load_model(path, device)
        _check_same_input(path, stored.config, student)
        self._use_spike = stored.config.model.use_spike
        self._model = stored.model

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
