"""What a caller of `record` may set by keyword, and its configuration as `meta.json` can hold it.

Needs no PyTorch.
"""

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from vrtspike.errors import RecorderUsageError
from vrtspike.profiling.run_folder import RUN_ID
from vrtspike.profiling.settings import LogConfig, ProfilingConfig

NOT_OURS = frozenset({"val_every_steps", "checkpoint_every_steps"})
"""Settings of the log that tell our trainer what to do; a loop that is not ours decides itself."""

ARGUMENTS = ("name", "device", "config", "profile", "enabled")
"""What `record` takes besides, for the nearest name."""

SECRET = "<secret>"
"""What stands in the place of one."""

_SECRET_KEY = re.compile(
    r"(?:^|[_\-. ])(?:password|passwd|secret|token|api_?key|access_?key|credentials?)$",
    re.IGNORECASE,
)
_MAX_DEPTH, _MAX_ITEMS, _MAX_TEXT = 12, 2000, 2000


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """What only a loop of one's own has to say.

    `total_steps` of the whole training, for the progress; `first_step` of this run, above 1 after a
    resume; `terminal` prints the log's lines, too; `run_id` is needed only by several processes
    that do not know each other through `torch.distributed`.
    """

    total_steps: int | None = None
    first_step: int = 1
    terminal: bool = False
    run_id: str | None = None

    def __post_init__(self) -> None:
        if self.first_step < 1:
            raise ValueError(f"first_step: must be at least 1, got {self.first_step}")
        if self.total_steps is not None and self.total_steps < 1:
            raise ValueError(f"total_steps: must be at least 1, got {self.total_steps}")
        if self.run_id is not None and not RUN_ID.fullmatch(self.run_id):
            raise ValueError("run_id: must look like train_20260131_235959_0a1b")


Sections = tuple[SessionConfig, LogConfig, ProfilingConfig]


def read_settings(settings: Mapping[str, Any]) -> Sections:
    """The keywords, each in the section that has a field of its name.

    Raises:
        RecorderUsageError: a keyword is unknown, of a wrong type, or outside its limits.
    """
    classes = (SessionConfig, LogConfig, ProfilingConfig)
    known = {
        field.name: cls
        for cls in classes
        for field in dataclasses.fields(cls)
        if field.name not in NOT_OURS
    }
    values: dict[type, dict[str, Any]] = {cls: {} for cls in classes}
    for name, value in settings.items():
        if name not in known:
            near = nearest(name, (*ARGUMENTS, *known))
            raise RecorderUsageError(f"record({name}=...): unknown setting{near}")
        cls = known[name]
        values[cls][name] = _checked(name, value, typing.get_type_hints(cls)[name])
    try:
        session, log, profiling = (cls(**values[cls]) for cls in classes)
    except ValueError as error:
        raise RecorderUsageError(f"record(): {error}") from None
    return typing.cast("Sections", (session, log, profiling))


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or what there is, for the end of a message."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1, 0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(names[:12])
    return f"; known: {shown}{', ...' if len(names) > 12 else ''}" if names else ""


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The value, where it is of the field's type; a path may stand for its text."""
    allowed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = {each for each in allowed if each in (bool, int, float, str, type(None))}
    if str in plain and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and "\0" in value:
        raise RecorderUsageError(f"record({name}=...): no text may hold a NUL, got {value[:60]!r}")
    is_number = isinstance(value, int) and not isinstance(value, bool)
    fits = type(value) in plain or (float in plain and is_number)
    if plain and not fits and len(plain) == len(allowed):
        words = " or ".join(sorted(t.__name__.replace("NoneType", "None") for t in plain))
        raise RecorderUsageError(
            f"record({name}=...): must be {words}, got {type(value).__name__} {str(value)[:60]!r}"
        )
    return value


def step_number(name: str, value: Any) -> float | None:
    """A number that was given to a step; `samples` of it are whole.

    Raises:
        RecorderUsageError: it is none.
    """
    try:
        if value is None:
            return None
        return float(int(value) if name == "samples" else value)
    except (TypeError, ValueError, OverflowError):
        raise RecorderUsageError(
            f"run.step({name}=...): must be a number, got {type(value).__name__} "
            f"{str(value)[:60]!r}"
        ) from None


def plain_config(config: Any) -> dict[str, Any]:
    """A loop's own configuration as JSON can hold it; what JSON cannot hold becomes text.

    A text whose key says that it is a secret (`password`, `api_key`, `hf_token`) is not kept.

    Args:
        config: A mapping, a dataclass, an `argparse.Namespace` or another object with attributes.

    Raises:
        RecorderUsageError: it has no keys.
    """
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        config = _attributes(config)
    return {str(key): _plain(value, str(key), 0) for key, value in _first(config.items())}


def _attributes(config: Any) -> Mapping[str, Any]:
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if hasattr(config, "keys") and hasattr(config, "__getitem__"):
        return {key: config[key] for key in config.keys()}  # noqa: SIM118  # not a Mapping
    if hasattr(config, "__dict__") and not isinstance(config, type):
        return dict(vars(config))
    raise RecorderUsageError(
        f"record(config=...): must be a mapping, a dataclass or a namespace, got a "
        f"{type(config).__name__}"
    )


def _plain(value: Any, key: str, depth: int) -> Any:
    if isinstance(value, str):
        return SECRET if value and _SECRET_KEY.search(key) else value[:_MAX_TEXT]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            items = _first(value.items())
            return {str(name): _plain(item, str(name), depth + 1) for name, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [_plain(item, key, depth + 1) for item in _first(value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return _plain(_attributes(value), key, depth + 1)
    return str(value)[:_MAX_TEXT]


def _first(items: Iterable[Any]) -> list[Any]:
    return [item for item, _ in zip(items, range(_MAX_ITEMS), strict=False)]
