"""Writing checkpoints of a run in progress, and continuing from one."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vrtspike.engine import random_state
from vrtspike.engine.checkpoint import Checkpoint, Position, load_weights, save_checkpoint
from vrtspike.engine.distributed import World
from vrtspike.engine.learner import Learner
from vrtspike.engine.resume import Found
from vrtspike.errors import CheckpointError
from vrtspike.profiling.log_lines import checkpoint_line


def check_folder(folder: Path) -> None:
    """Make sure before the training, not hours later, that checkpoints can be written.

    Raises:
        CheckpointError: the folder above `folder` cannot be made or written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder.parent).close()
    except OSError as error:
        raise CheckpointError(
            f"{folder.parent}: checkpoints cannot be written here: {error.strerror}; "
            "set LOG.SAVE_DIR to a folder that can be written to"
        ) from None


@dataclass
class CheckpointSaver:
    """Saves the learner into the run's folder; rank 0 writes, all ranks contribute."""

    folder: Path
    run_id: str
    config: Mapping[str, Any]
    world: World
    learner: Learner
    say: Callable[[str], None]
    best_psnr_db: float | None = None

    def save(self, name: str, position: Position) -> None:
        """Write one checkpoint atomically; all ranks call it together.

        Raises:
            CheckpointError: it could not be written, on rank 0.
        """
        states = self.world.gather(random_state.capture(self.world.device))
        if not self.world.is_main:
            return
        checkpoint = Checkpoint(
            run_id=self.run_id,
            position=position,
            config=self.config,
            model=self.learner.model.state_dict(),
            optimizer=self.learner.optimizer.state_dict(),
            scaler=self.learner.precision.scaler.state_dict(),
            random_states=tuple(states),
            best_psnr_db=self.best_psnr_db,
        )
        path = self.folder / name
        save_checkpoint(path, checkpoint)
        self.say(checkpoint_line(position.step, path.as_posix()))


def continue_from(found: Found, learner: Learner, say: Callable[[str], None]) -> None:
    """Give the learner the weights and the optimizer state of a checkpoint.

    Random states are the last thing to restore: see `restore_random_state`.

    Raises:
        CheckpointError: it does not fit the model or the optimizer.
    """
    checkpoint = found.checkpoint
    load_weights(learner.model, checkpoint, found.path)
    _load_optimizer(learner.optimizer, found)
    scaler = learner.precision.scaler
    if scaler.is_enabled() and checkpoint.scaler:
        scaler.load_state_dict(dict(checkpoint.scaler))
    say(f"[resume] step {checkpoint.position.step} of {checkpoint.run_id}, {found.path}")


def restore_random_state(found: Found, world: World, say: Callable[[str], None]) -> None:
    """Continue with this rank's random numbers, directly before the first step."""
    states = found.checkpoint.random_states
    if len(states) == world.size:
        try:
            random_state.restore(states[world.rank], world.device)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CheckpointError(
                f"{found.path}: the random states are damaged ({reason})"
            ) from None
    else:
        say(
            f"[resume] written by {len(states)} processes, now {world.size}: random numbers "
            "of the model start afresh"
        )


def _load_optimizer(optimizer: torch.optim.Optimizer, found: Found) -> None:
    """The moments of a checkpoint with the options of this run, which may be on another device."""
    stored = dict(found.checkpoint.optimizer)
    options = {key: value for key, value in optimizer.defaults.items() if key != "params"}
    try:
        groups = [{**group, **options} for group in stored["param_groups"]]
        optimizer.load_state_dict({**stored, "param_groups": groups})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{found.path}: the optimizer state does not fit: {error}") from None
