"""Times named stages of a model from outside it, through forward hooks.

The model knows nothing of this. A stage is one or more submodules; its time is their sum. Hooks
count only while the recorder says so (the forward phase of a step), so that validation forwards
and the recomputation of checkpointed activations never mix in.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from vrtspike.profiling.ranges import NoRanges, Range, Ranges
from vrtspike.profiling.timers import Interval, Mark, Timer


class _Frame:
    """A stage that is running; `start` is None inside a run of the same stage."""

    __slots__ = ("module", "name", "range", "start")

    def __init__(
        self, name: str, module: nn.Module, start: Mark | None, span: Range | None
    ) -> None:
        self.name = name
        self.module = module
        self.start = start
        self.range = span


class StageHooks:
    """Collects one interval for each run of a stage while `counting` is set."""

    def __init__(self, timer: Timer, ranges: Ranges | None = None) -> None:
        self.counting = False
        self.names: tuple[str, ...] = ()
        self._timer = timer
        self._ranges = ranges or NoRanges()
        self._running: list[_Frame] = []
        self._intervals: list[Interval] = []
        self._calls: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []
        self._heard: set[str] = set()

    @property
    def silent(self) -> tuple[str, ...]:
        """Stages never counted, as when they lie inside a compiled region."""
        return tuple(name for name in self.names if name not in self._heard)

    def attach(self, model: nn.Module, stages: Mapping[str, Sequence[str]]) -> None:
        """Hooks the submodules of each stage.

        Args:
            model: The module that the dotted paths start from.
            stages: Stage name to dotted submodule paths.

        Raises:
            ValueError: a path names no submodule, or a container that is never called.
        """
        found = {
            name: [_submodule(model, name, path) for path in paths]
            for name, paths in stages.items()
        }
        for name, modules in found.items():
            for module in modules:
                enter = module.register_forward_pre_hook(partial(self._enter, name))
                leave = module.register_forward_hook(self._leave, always_call=True)
                self._handles += [enter, leave]
        self.names += tuple(name for name in found if name not in self.names)

    def detach(self) -> None:
        """Takes every hook off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def take(self) -> tuple[list[Interval], dict[str, int]]:
        """The intervals and calls since the last `take`; every stage has its count."""
        intervals, self._intervals = self._intervals, []
        calls, self._calls = self._calls, {}
        self._heard.update(calls)
        return intervals, {name: calls.get(name, 0) for name in self.names}

    def close_all(self) -> None:
        """Closes stages that an exception left running."""
        while self._running:
            self._close(self._running.pop())

    def _enter(self, name: str, module: nn.Module, args: Any) -> None:
        # Inside a compiled region the hook is traced once, not run: the stage stays uncounted.
        # Asked first, so that the compiled code does not depend on `counting`.
        if torch.compiler.is_compiling() or not self.counting:
            return
        running = self._running
        if running and running[-1].name == name:
            running.append(_Frame(name, module, None, None))
            return
        self._calls[name] = self._calls.get(name, 0) + 1
        span = self._ranges.open(name)
        running.append(_Frame(name, module, self._timer.mark(), span))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        running = self._running
        if not running:
            return
        if running[-1].module is module:
            self._close(running.pop())
        elif any(frame.module is module for frame in running):
            while running[-1].module is not module:
                self._close(running.pop())
            self._close(running.pop())

    def _close(self, frame: _Frame) -> None:
        if frame.start is None:
            return
        end = self._timer.mark()
        self._ranges.close(frame.range)
        parent = self._running[-1].name if self._running else None
        self._intervals.append(Interval(frame.name, parent, frame.start, end))


def _submodule(model: nn.Module, stage: str, path: str) -> nn.Module:
    try:
        module = model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f"stage {stage!r}: the model has no submodule {path!r}") from error
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        raise ValueError(  # noqa: TRY004  # the path is wrong, not the type of an argument
            f"stage {stage!r}: {path!r} is a container and is never called itself"
        )
    return module
