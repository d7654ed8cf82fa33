"""Times named stages of a model from outside it, through forward hooks.

The model knows nothing of this. A stage is one or more submodules; its time is their sum. In the
forward phase of a step a run of a stage is its forward; in the backward phase it is recomputation
(activation checkpointing). Otherwise nothing counts, so that validation never mixes in.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import perf_counter_ns
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from vrtspike.profiling.backward_trail import BackwardTrail, Call, Part, Stage
from vrtspike.profiling.memory import HostStepMemory, StepMemory
from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.ranges import NoRanges, Range, Ranges
from vrtspike.profiling.records import RECOMPUTE_OTHER
from vrtspike.profiling.timers import Interval, Mark, Timer

Mode = Literal["forward", "backward"] | None
_NOTHING = nullcontext()


class _Frame:
    """A stage that is running; `start` is None inside a run of the same stage."""

    __slots__ = ("call", "module", "name", "range", "start")

    def __init__(self, name: str, module: nn.Module, start: Mark | None) -> None:
        self.name = name
        self.module = module
        self.start = start
        self.range: Range | None = None
        self.call: Call | None = None


class _Rerun:
    """A stage, or a part of one, that is being recomputed; `before` is what it interrupts.

    `stage` is None inside the recomputation of the same stage.
    """

    __slots__ = ("before", "call", "module", "name", "stage")

    def __init__(self, name: str, module: object, stage: Stage | None, before: Part | None) -> None:
        self.name = name
        self.module = module
        self.stage = stage
        self.before = before
        self.call: Call | None = None


class StageTimes(NamedTuple):
    """What was collected since the last time: of the forward, and of the backward pass."""

    intervals: list[Interval]
    calls: dict[str, int]
    stretches: list[tuple[Mark, Part | None]]
    part_calls: dict[Part, int]


class StageHooks:
    """Collects one interval for each run of a stage, and where the backward pass went.

    Args:
        timer: Takes the marks.
        ranges: Named ranges of a trace, opened around each stage.
        memory: Hears of every part that ends while it samples.
        cost: Adds up what the hooks take.
    """

    def __init__(
        self,
        timer: Timer,
        ranges: Ranges | None = None,
        memory: StepMemory | None = None,
        cost: OwnCost | None = None,
    ) -> None:
        self.names: tuple[str, ...] = ()
        self._mode: Mode = None
        self._timer = timer
        self._memory = memory or HostStepMemory()
        self._ranges = ranges or NoRanges()
        self._cost = cost or OwnCost(perf_counter_ns)
        self._trail = BackwardTrail(timer, self._memory, self._ranges, self._cost)
        self._outside = Stage(RECOMPUTE_OTHER)
        self._running: list[_Frame] = []
        self._reruns: list[_Rerun] = []
        self._intervals: list[Interval] = []
        self._calls: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []
        self._stages: dict[str, Stage] = {}
        self._heard: set[str] = set()

    @property
    def silent(self) -> tuple[str, ...]:
        """Stages never counted, as when they lie inside a compiled region."""
        return tuple(name for name in self.names if name not in self._heard)

    @property
    def mode(self) -> Mode:
        """What a run of a stage counts as now; None: it does not count."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode == self._mode:
            return
        if self._mode == "backward":
            self._trail.pause()
        self._mode = mode
        if mode == "backward":
            self._trail.resume()
        elif mode == "forward":
            self._trail.forward_begins()

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
            stage = self._stages.setdefault(name, Stage(name))
            for module in modules:
                enter = module.register_forward_pre_hook(
                    self._cost.metered(partial(self._enter, stage)), with_kwargs=True
                )
                metered = self._cost.metered(self._leave)
                leave = module.register_forward_hook(metered, always_call=True)
                self._handles += [enter, leave]
        self.names += tuple(name for name in found if name not in self.names)

    def detach(self) -> None:
        """Takes every hook off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def take(self) -> StageTimes:
        """What was collected since the last `take`; every stage has its count."""
        intervals, self._intervals = self._intervals, []
        calls, self._calls = self._calls, {}
        self._heard.update(calls)
        stretches, part_calls = self._trail.take()
        counts = {name: calls.get(name, 0) for name in self.names}
        return StageTimes(intervals, counts, stretches, part_calls)

    def phase_ends(self) -> None:
        """Closes what an exception left running in the forward or the backward."""
        while self._running:
            self._close(self._running.pop())
        self._reruns.clear()
        if self._mode == "backward":
            self._trail.end()

    def checkpoint_context(self) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """The contexts of one checkpointed part, for `torch.utils.checkpoint`'s `context_fn`.

        Called in the part's first run, in whose stage its recomputation will count.
        """
        if self._mode != "forward":
            return _NOTHING, _NOTHING
        stage = self._stages[self._running[-1].name] if self._running else self._outside
        return _NOTHING, _Recomputation(self._start_rerun, self._end_rerun, stage)

    def _enter(self, stage: Stage, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._mode is None:
            return
        if self._mode == "backward":
            self._start_rerun(stage, module)
            return
        running, name = self._running, stage.name
        if running and running[-1].name == name:
            nested = _Frame(name, module, None)
            nested.call = running[-1].call
            running.append(nested)
            return
        self._calls[name] = self._calls.get(name, 0) + 1
        outer = running[-1] if running else None
        if self._memory.sampling:
            self._memory.part_ends("forward", outer.name if outer else None)
        call = None
        if torch.is_grad_enabled():
            outer_call = outer.call if outer else None
            self._trail.watch_inputs(args, outer_call)
            if kwargs:
                self._trail.watch_inputs(kwargs, outer_call)
            call = Call(stage, outer_call)
        span = self._ranges.open(name)
        frame = _Frame(name, module, self._timer.mark())
        frame.range, frame.call = span, call
        running.append(frame)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._reruns:
            self._leave_rerun(module, output)
            return
        running = self._running
        if not running:
            return
        if running[-1].module is module:
            self._close(running.pop(), output)
        elif any(frame.module is module for frame in running):
            while running[-1].module is not module:
                self._close(running.pop())
            self._close(running.pop(), output)

    def _close(self, frame: _Frame, output: Any = None) -> None:
        if frame.start is None:
            return
        end = self._timer.mark()
        self._ranges.close(frame.range)
        parent = self._running[-1].name if self._running else None
        self._intervals.append(Interval(frame.name, parent, frame.start, end))
        if self._memory.sampling:
            self._memory.part_ends("forward", frame.name)
        if frame.call is not None and output is not None:
            self._trail.watch_outputs(output, frame.call)

    def _start_rerun(self, stage: Stage, module: object) -> None:
        if self._mode != "backward":
            return
        reruns, trail = self._reruns, self._trail
        if reruns and reruns[-1].name == stage.name:
            reruns.append(_Rerun(stage.name, module, None, None))
            return
        rerun = _Rerun(stage.name, module, stage, trail.part)
        if isinstance(module, nn.Module) and _is_reentrant():
            rerun.call = Call(stage, None)
        trail.count(stage.recompute)
        reruns.append(rerun)
        trail.switch(stage.recompute)

    def _leave_rerun(self, module: nn.Module, output: Any) -> None:
        call = self._end_rerun(module)
        if call is not None and output is not None:
            self._trail.watch_outputs(output, call)

    def _end_rerun(self, module: object) -> Call | None:
        """Ends the recomputation of a module, or of what an exception left running inside it."""
        if not any(rerun.module is module for rerun in self._reruns):
            return None
        while True:
            rerun = self._reruns.pop()
            if rerun.stage is not None:
                self._trail.switch(rerun.before)
            if rerun.module is module:
                return rerun.call


class _Recomputation:
    """`with`: a checkpointed part is run again."""

    __slots__ = ("_end", "_stage", "_start")

    def __init__(
        self, start: Callable[[Stage, object], None], end: Callable[[object], Any], stage: Stage
    ) -> None:
        self._start = start
        self._end = end
        self._stage = stage

    def __enter__(self) -> None:
        self._start(self._stage, self)

    def __exit__(self, *exc: object) -> None:
        self._end(self)


def _is_reentrant() -> bool:
    """Whether this recomputation's own graph is what the backward pass goes on with."""
    node = torch._C._current_autograd_node()
    return node is not None and node.name().startswith("CheckpointFunction")


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
