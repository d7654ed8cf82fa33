"""What an advice is called in other trainers: their own switches, from one reviewed data file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

FILE = Path(__file__).with_name("framework_switches.toml")
Topic = Literal[
    "loader", "device_memory", "host_memory", "gradients", "schedule", "checkpoints", "logging",
    "trace",
]  # fmt: skip
"""What there is advice about."""

TOPICS: tuple[Topic, ...] = get_args(Topic)
_SAME = "same"


@dataclass(frozen=True)
class Switches:
    """Keys, arguments and options as one writes them there, and where they are documented."""

    switches: tuple[str, ...]
    source: str

    @property
    def text(self) -> str:
        """All of them as code."""
        return ", ".join(f"`{each}`" for each in self.switches)


def switches_for(framework: str, topic: Topic) -> Switches | None:
    """Those of a framework, named as its log's family; None where it has none for that."""
    return read_switches()[topic].get(trainer_of(framework))


def trainer_of(family: str) -> str:
    """The trainer that writes logs of that family."""
    same: Mapping[str, str] = _tables(FILE)[_SAME]
    return same.get(family, family)


@cache
def read_switches(path: Path = FILE) -> Mapping[str, Mapping[str, Switches]]:
    """By topic and framework.

    Raises:
        TypeError: an entry lacks one of its fields, or has another.
    """
    return {
        topic: {name: _entry(**fields) for name, fields in named.items()}
        for topic, named in _tables(path).items()
        if topic != _SAME
    }


def _entry(*, switches: list[str], source: str) -> Switches:
    return Switches(tuple(switches), source)


@cache
def _tables(path: Path) -> Mapping[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))
