"""Finding the checkpoint to continue from, and checking that it fits the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrtspike.engine.checkpoint import BEST, LAST, Checkpoint, read_checkpoint
from vrtspike.engine.settings import TrainConfig
from vrtspike.errors import CheckpointError

_SHAPING = (
    "MODEL.USE_SPIKE",
    "MODEL.CHANNELS_PER_SCALE",
    "MODEL.VRT_DEPTHS",
    "MODEL.WINDOW_SIZE",
    "MODEL.NUM_HEADS",
    "MODEL.DEFORM_GROUPS",
    "MODEL.SPIKE_ENCODER.TEMPORAL_STRIDES",
    "MODEL.SPIKE_ENCODER.SPATIAL_STRIDES",
    "MODEL.SPIKE_TSA.HEADS",
    "MODEL.SPIKE_TSA.MLP_RATIO",
    "MODEL.FUSE.HEADS",
    "MODEL.FUSE.MLP_RATIO",
    "MODEL.FUSE.SCALES",
    "DATA.CLIP_LEN",
    "DATA.K",
)
"""Keys that say which network it is; the other `MODEL` keys say only how it is computed."""


@dataclass(frozen=True)
class Found:
    """A checkpoint and the file it was read from."""

    path: Path
    checkpoint: Checkpoint


def read_found(path: Path) -> Found:
    """Read one named checkpoint."""
    return Found(path, read_checkpoint(path))


def find_resume(
    wish: str | None, settings: TrainConfig, checkpoints: Path, say: Callable[[str], None]
) -> Found | None:
    """The checkpoint to continue from, or None to start from scratch.

    `--resume` wins over `TRAIN.CHECKPOINT_PATH`, which wins over `TRAIN.RESUME_FROM_CHECKPOINT`.

    Args:
        wish: the value of `--resume`: `auto`, a file, the folder of a run, or None.
        settings: the training section.
        checkpoints: the folder that holds one folder of checkpoints for each run.
        say: receives one line for everything worth knowing.

    Raises:
        CheckpointError: a named file is missing or broken, or all files found are.
    """
    named = settings.checkpoint_path if wish is None else wish
    if named is None and settings.resume_from_checkpoint:
        named = "auto"
    if named is None:
        return None
    if named != "auto":
        path = Path(named)
        path = path / LAST if path.is_dir() else path
        return read_found(path)
    found = newest(checkpoints, say)
    if found is None:
        say(f"[resume] no checkpoint under {checkpoints}: starting from scratch")
    return found


def newest(checkpoints: Path, say: Callable[[str], None]) -> Found | None:
    """The newest whole checkpoint: the latest run by its id, and its latest step.

    A broken file is named and the next older one taken.

    Raises:
        CheckpointError: there are files, and none can be read.
    """
    broken: list[str] = []
    for folder in sorted(checkpoints.glob("train_*"), key=lambda path: path.name, reverse=True):
        found = []
        for name in (LAST, BEST):
            path = folder / name
            if not path.exists():
                continue
            try:
                found.append(read_found(path))
            except CheckpointError as error:
                broken.append(str(error))
                say(f"[resume] left out: {error}")
        if found:
            return max(found, key=lambda one: one.checkpoint.position.step)
    if broken:
        raise CheckpointError(f"no readable checkpoint under {checkpoints}; first: {broken[0]}")
    return None


def check_same_model(found: Found, config: Mapping[str, Any]) -> None:
    """Compare what shapes the network in the checkpoint and in the configuration.

    Raises:
        CheckpointError: they differ; the message names every such key with both values.
    """
    stored, wanted = flatten(found.checkpoint.config), flatten(config)
    differing = [
        f"{key} is {stored.get(key)} there, {wanted.get(key)} in the configuration"
        for key in _SHAPING
        if stored.get(key) != wanted.get(key)
    ]
    if differing:
        raise CheckpointError(f"{found.path}: holds another model: {'; '.join(differing)}")


def nothing_to_do(found: Found, settings: TrainConfig) -> str | None:
    """One line when the checkpoint is at the end of the schedule already; None when it is not.

    With `TRAIN.EPOCHS` the end is known only with the data set: then it is None, too.
    """
    total, step = settings.total_steps, found.checkpoint.position.step
    if settings.epochs is not None or total is None or step < total:
        return None
    return (
        f"nothing to do: {found.path} is at step {step}, and TRAIN.TOTAL_STEPS is {total}. "
        f"To go on, raise it, such as TRAIN.TOTAL_STEPS={step + total}"
    )


def changed_keys(found: Found, config: Mapping[str, Any]) -> list[str]:
    """`KEY old -> new` for every key whose value differs from the checkpoint's."""
    stored, wanted = flatten(found.checkpoint.config), flatten(config)
    keys = sorted(set(stored) | set(wanted))
    return [
        f"{key} {stored.get(key)} -> {wanted.get(key)}"
        for key in keys
        if stored.get(key) != wanted.get(key)
    ]


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists and tuples compare equal."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
