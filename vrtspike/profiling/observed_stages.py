"""From what a caller names to the submodules that are observed, with the nearest name on a typo."""

import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from vrtspike.errors import RecorderUsageError
from vrtspike.profiling.records import OTHERS
from vrtspike.profiling.session_settings import nearest

Names = Mapping[str, str | Sequence[str]] | Sequence[str] | None

_WRAPPERS = {"DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
_NAME = re.compile(r"[^\s=|]{1,100}")


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel and `torch.compile`.

    Raises:
        RecorderUsageError: it is no module, or a DataParallel, which runs copies in threads.
    """
    if not isinstance(model, nn.Module):
        raise RecorderUsageError(
            f"observe(): the model must be a torch.nn.Module, got a {type(model).__name__}"
        )
    if isinstance(model, nn.DataParallel):
        raise RecorderUsageError(
            "observe(): torch.nn.DataParallel runs copies of the model in threads, whose stages "
            "cannot be told apart; use DistributedDataParallel, or leave observe() out"
        )
    inside = _WRAPPERS.get(type(model).__name__)
    inner = getattr(model, inside, None) if inside else None
    return unwrapped(inner) if isinstance(inner, nn.Module) else model


def stages_of(model: nn.Module, names: Names) -> dict[str, tuple[str, ...]]:
    """Stage name to dotted submodule paths.

    Args:
        model: Unwrapped.
        names: Submodule paths, or stage names to one or more of them; None: the direct children.

    Raises:
        RecorderUsageError: a path names no submodule or a container that is never called; a name
            cannot stand in the log.
    """
    stages = _as_mapping(model, names)
    for stage, paths in stages.items():
        if not _NAME.fullmatch(stage) or stage in OTHERS:
            raise RecorderUsageError(
                f"observe(): the stage name {stage!r} cannot be used; take up to 100 characters "
                f"without spaces, '=' and '|', and not {', '.join(OTHERS)}"
            )
        for path in paths:
            _check(model, stage, path)
    return stages


def device_of(model: nn.Module) -> torch.device | None:
    """Where the model lies; None where it has neither parameters nor buffers with data."""
    tensors = (t for source in (model.parameters(), model.buffers()) for t in source)
    return next((tensor.device for tensor in tensors if tensor.device.type != "meta"), None)


def _as_mapping(model: nn.Module, names: Names) -> dict[str, tuple[str, ...]]:
    if names is None:
        found: dict[str, tuple[str, ...]] = {
            _speaking(path, model): (path,) for path in _children(model)
        }
        return found or {type(model).__name__: ("",)}
    if isinstance(names, str):
        return {names: (names,)}
    if isinstance(names, Mapping):
        return {
            str(stage): (paths,) if isinstance(paths, str) else tuple(paths)
            for stage, paths in names.items()
        }
    return {str(path): (str(path),) for path in names}


def _speaking(path: str, model: nn.Module) -> str:
    """A child of a Sequential has but a number: its class says more."""
    return f"{path}_{type(model.get_submodule(path)).__name__}" if path.isdigit() else path


def _children(model: nn.Module, prefix: str = "") -> Iterator[str]:
    """Direct children; of a list or dictionary of modules, which is never called, its members."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _children(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _check(model: nn.Module, stage: str, path: str) -> None:
    try:
        module = model.get_submodule(path)
    except AttributeError:
        valid = [name for name, _ in model.named_modules() if name]
        raise RecorderUsageError(
            f"observe(): stage {stage!r}: the model has no submodule {path!r}{nearest(path, valid)}"
        ) from None
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        members = ", ".join(f"{path}.{name}" for name in list(dict(module.named_children()))[:3])
        raise RecorderUsageError(
            f"observe(): stage {stage!r}: {path!r} is a container and is never called itself; name "
            f"its members{f' ({members}, ...)' if members else ''}"
        )
