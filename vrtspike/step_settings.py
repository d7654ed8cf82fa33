"""The settings that decide what a training step costs: runs that share them did the same work."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

DECISIVE = (
    "MODEL.",
    "DATA.CLIP_LEN",
    "DATA.CROP_SIZE",
    "DATA.CROP_SCHEDULE",
    "DATA.K",
    "TRAIN.BATCH_SIZE",
    "TRAIN.GRADIENT_ACCUMULATION_STEPS",
    "TRAIN.AMP_ENABLED",
    "TRAIN.COMPILE_MODEL",
    "TRAIN.DISTILLATION.TEACHER_CHECKPOINT",
    "LOSS.VGG_PERCEPTUAL.WEIGHT",
)
"""Beginnings of dotted keys."""

_WITHOUT_EFFECT = (
    "MODEL.PRETRAINED_FLOW",
    "MODEL.DROP_PATH_RATE",
    "LOSS.VGG_PERCEPTUAL.WEIGHTS_PATH",
)


def decisive_settings(mapping: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values, of a configuration as plain data."""
    for key, value in _flattened(mapping.items()):
        if key.startswith(DECISIVE) and key not in _WITHOUT_EFFECT:
            yield key, value


def _flattened(items: Iterable[tuple[str, Any]], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in items:
        if isinstance(value, Mapping):
            yield from _flattened(value.items(), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
