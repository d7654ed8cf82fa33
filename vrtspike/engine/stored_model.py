"""Rebuilding a trained model from its checkpoint alone."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from vrtspike.config import Config, config_from_mapping
from vrtspike.engine.checkpoint import load_weights, read_checkpoint
from vrtspike.model.build import build_model


@dataclass(frozen=True)
class StoredModel:
    """A frozen model in evaluation mode, and the configuration it was trained with."""

    model: nn.Module
    config: Config


def load_model(path: Path, device: torch.device) -> StoredModel:
    """Build the model that the checkpoint's own configuration describes, with its weights.

    Raises:
        CheckpointError: missing, damaged or inconsistent.
        ConfigError: the configuration inside it is not one of this version.
    """
    checkpoint = read_checkpoint(path)
    config = config_from_mapping(checkpoint.config, str(path))
    model = new_model(config, trained=True)
    load_weights(model, checkpoint, path)
    return StoredModel(model.to(device).eval().requires_grad_(requires_grad=False), config)


def new_model(config: Config, *, trained: bool) -> nn.Module:
    """The configured model; a `trained` one gets weights afterwards and needs no flow file."""
    settings = replace(config.model, pretrained_flow=None) if trained else config.model
    return build_model(
        settings,
        clip_len=config.data.clip_len,
        crop_size=config.data.crop_size,
        bins=config.data.k,
    )
