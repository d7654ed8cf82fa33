"""Times named stages of a model from outside it, through forward hooks.

The model knows nothing of this. A stage is one or more submodules; its time is their sum. In the
forward phase of a step a run of a stage is its forward; in the backward phase it is recomputation
(activation checkpointing). Otherwise nothing counts, so that validation never mixes in.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter_ns
from typing import Any, Literal, NamedTuple

import torch
from torch import is_grad_enabled, nn
from torch.compiler import is_compiling
from torch.utils.hooks import RemovableHandle

from vrtspike.profiling.backward_trail import BackwardTrail, Call, Part, Stage
from vrtspike.profiling.memory import HostStepMemory, StepMemory
from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.ranges import NoRanges, Range, Ranges
from vrtspike.profiling.records import RECOMPUTE_OTHER
from vrtspike.profiling.timers import Interval, Mark, Timer

Mode = Literal["forward", "backward"] | None
_NOTHING = nullcontext()


class _Frame(Interval):
    """A stage that is running; once it has ended, the interval of it.

    `start` is None inside a run of the same stage.
    """

    __slots__ = ("call", "module", "range")

    def __init__(
        self, name: str, parent: str | None, module: nn.Module, call: Call | None, span: Range
    ) -> None:
        self.name = name
        self.parent = parent
        self.start = self.end = None
        self.module: nn.Module | None = module
        self.call = call
        self.range = span


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
        self._one_clock = timer.mark == self._cost.now_ns
        """A mark is then what the hook has read anyway, to know its own time."""
        self._trail = BackwardTrail(timer, self._memory, self._ranges, self._cost)
        self._outside = Stage(RECOMPUTE_OTHER)
        self._running: list[_Frame] = []
        self._reruns: list[_Rerun] = []
        self._intervals: list[Interval] = []
        self._handles: list[RemovableHandle] = []
        self._stages: dict[str, Stage] = {}
        self._names: dict[int, str] = {}
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

    def stage_of(self, module: nn.Module) -> str | None:
        """The stage that the module is, or is a part of; None for any other."""
        return self._names.get(id(module))

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
                self._names[id(module)] = name
                enter = module.register_forward_pre_hook(self._entering(stage), with_kwargs=True)
                leave = module.register_forward_hook(self._leaving(), always_call=True)
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
        stretches, part_calls = self._trail.take()
        calls = dict.fromkeys(self.names, 0)
        for interval in intervals:
            calls[interval.name] += 1
        if len(self._heard) < len(calls):
            self._heard.update(name for name, count in calls.items() if count)
        return StageTimes(intervals, calls, stretches, part_calls)

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

    def _entering(self, stage: Stage) -> Callable[[nn.Module, Any, Any], None]:
        """The hook in front of a module, its own time added up.

        Inside a compiled region a hook is traced once, not run: there it does nothing.
        """
        enter, cost, now_ns = self._enter, self._cost, self._cost.now_ns
        one_clock = self._one_clock

        def entering(module: nn.Module, args: Any, kwargs: Any) -> None:
            if is_compiling():
                return
            began_ns = now_ns()
            frame = enter(stage, module, args, kwargs)
            ended_ns = now_ns()
            cost.spent_ns += ended_ns - began_ns
            if one_clock and frame is not None:
                frame.start = ended_ns

        return entering

    def _leaving(self) -> Callable[[nn.Module, Any, Any], None]:
        """The hook behind a module, likewise."""
        leave, cost, now_ns = self._leave, self._cost, self._cost.now_ns
        one_clock = self._one_clock

        def leaving(module: nn.Module, args: Any, output: Any) -> None:
            if is_compiling():
                return
            began_ns = now_ns()
            leave(module, output, began_ns if one_clock else None)
            cost.spent_ns += now_ns() - began_ns

        return leaving

    def _enter(self, stage: Stage, module: nn.Module, args: Any, kwargs: Any) -> _Frame | None:
        """The frame of a stage that has begun to run; its start is the latest mark there is."""
        if self._mode != "forward":
            self._start_rerun(stage, module)
            return None
        running, name = self._running, stage.name
        outer_name: str | None = None
        outer_call: Call | None = None
        if running:
            outer = running[-1]
            outer_name, outer_call = outer.name, outer.call
            if outer_name == name:
                running.append(_Frame(name, None, module, outer_call, None))
                return None
        if self._memory.sampling:
            self._memory.part_ends("forward", outer_name)
        call = None
        if is_grad_enabled():
            self._trail.watch_inputs(args, outer_call)
            if kwargs:
                self._trail.watch_inputs(kwargs, outer_call)
            call = Call(stage, outer_call)
        frame = _Frame(name, outer_name, module, call, self._ranges.open(name))
        running.append(frame)
        frame.start = None if self._one_clock else self._timer.mark()
        return frame

    def _leave(self, module: nn.Module, output: Any, mark: Mark) -> None:
        """`mark` is where the module ended, if somebody has taken it already."""
        if self._reruns:
            self._leave_rerun(module, output)
            return
        running = self._running
        if not running:
            return
        if running[-1].module is module:
            self._close(running.pop(), output, mark)
        elif any(frame.module is module for frame in running):
            while running[-1].module is not module:
                self._close(running.pop())
            self._close(running.pop(), output)

    def _close(self, frame: _Frame, output: Any = None, mark: Mark = None) -> None:
        if frame.start is None:
            return
        frame.end = self._timer.mark() if mark is None else mark
        self._ranges.close(frame.range)
        self._intervals.append(frame)
        if self._memory.sampling:
            self._memory.part_ends("forward", frame.name)
        if frame.call is not None and output is not None:
            self._trail.watch_outputs(output, frame.call)
        frame.module = frame.call = frame.range = None

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
