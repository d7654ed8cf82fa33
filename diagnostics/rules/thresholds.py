"""The limits that measurements are held against, each with its reason and source.

All of them stand in one file, `thresholds.toml`, so that they can be reviewed and hashed together.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("thresholds.toml")
OUTCOME_LIMITS = Path(__file__).with_name("outcome_limits.toml")
"""Those of the checklist and of regressions, in the same form."""

_VERSION = "version"


@dataclass(frozen=True)
class Threshold:
    """A limit with the reason for it and the place it comes from."""

    value: float
    unit: str
    reason: str
    source: str


@cache
def read_thresholds(path: Path = FILE) -> Mapping[str, Mapping[str, Threshold]]:
    """The limits by rule and name, in the order of the file.

    Raises:
        TypeError: a table lacks one of the four fields, or has another.
    """
    return {
        code: {name: Threshold(**fields) for name, fields in named.items()}
        for code, named in _tables(path).items()
        if code != _VERSION
    }


def thresholds_version(path: Path = FILE) -> int:
    """The version of the file's meaning; it rises when a limit is renamed or judged otherwise."""
    return int(_tables(path)[_VERSION])


def limits_of(code: str) -> Mapping[str, Threshold]:
    """The limits of one rule or pattern by name; none if the file has none."""
    return read_thresholds().get(code, {})


@cache
def _tables(path: Path) -> Mapping[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))
