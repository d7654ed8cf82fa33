"""The configuration of a run: one frozen dataclass, composed of what each component declares.

Needs no PyTorch, so that the tools can forecast a run before it starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vrtspike.data.settings import DataConfig, DataLoaderConfig
from vrtspike.engine.settings import LossConfig, TrainConfig
from vrtspike.errors import ConfigError
from vrtspike.model.settings import ModelConfig
from vrtspike.profiling.settings import LogConfig, ProfilingConfig
from vrtspike.yaml_settings import compose, override, read_dataclass, to_mapping

MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration file. `seed` seeds data order, augmentation and initialisation."""

    data: DataConfig
    train: TrainConfig
    seed: int = 123
    model: ModelConfig = field(default_factory=ModelConfig)
    dataloader: DataLoaderConfig = field(default_factory=DataLoaderConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    log: LogConfig = field(default_factory=LogConfig)
    profiling: ProfilingConfig = field(default_factory=ProfilingConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: must not be negative, got {self.seed}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply `KEY.PATH=VALUE` overrides.

    Raises:
        ConfigError: the file cannot be read or anything in it is wrong; one line, saying where.
    """
    return parse_config(read_config_text(path), str(path), overrides)


def config_to_mapping(config: Config) -> dict[str, Any]:
    """The configuration as plain data, with the YAML's own keys and every default spelled out."""
    mapping: dict[str, Any] = to_mapping(config)
    return mapping


def config_from_mapping(mapping: Mapping[str, Any], source: str) -> Config:
    """The configuration that `config_to_mapping` wrote, for example into a checkpoint.

    Raises:
        ConfigError: the mapping does not fit this version; `source` names where it was found.
    """
    try:
        text = yaml.safe_dump(dict(mapping), sort_keys=False)
    except yaml.YAMLError:
        raise ConfigError(f"{source}: holds a configuration that is not plain data") from None
    return parse_config(text, source, ())


def parse_config(text: str, source: str, overrides: Sequence[str]) -> Config:
    """A configuration from its text, with `KEY.PATH=VALUE` overrides.

    Raises:
        ConfigError: anything in it is wrong; one line, with `source` and where.
    """
    node = compose(text, source)
    for assignment in overrides:
        override(node, assignment)
    return read_dataclass(node, Config, source)


def read_config_text(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: it cannot be read, is too large or no text.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: larger than 1 MiB; that is not a configuration file")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; that is not a configuration file") from None
