"""Times the backward of stages along the time line of the backward pass.

Autograd runs the nodes that one thread made in the reverse order of their making: a node waits for
those made from its result, which are younger, and of those that are ready the youngest goes first
(its sequence number is the queue's order). So the backward of one call of a stage is one stretch of
the time line, whatever skip connections there are. It begins where the first node of the call's
outputs runs and ends where the first node of its inputs runs. A hook in front of such a node says
only: from here on runs what that call has made. Hooks in front of nodes add none to the graph,
change no gradient and hold no tensor.
"""

from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import perf_counter_ns
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.variable import Variable
from torch.compiler import is_compiling

from vrtspike.profiling.memory import StepMemory
from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.ranges import NoRanges, Range, Ranges
from vrtspike.profiling.tensor_tree import tensors_of
from vrtspike.profiling.timers import Mark, Timer

Direction = Literal["backward", "recompute"]
Part = tuple[Direction, str]
"""Whose time it is: the backward or the recomputation of a stage."""


_next_node = torch._C._autograd._get_sequence_nr
"""The sequence number of the node that this thread makes next."""
_graph_task = torch._C._current_graph_task_id
"""The number of the backward pass that this thread runs."""


class Stage:
    """A stage's name, and what its time in the backward pass is called."""

    __slots__ = ("backward", "name", "recompute")

    def __init__(self, name: str) -> None:
        self.name = name
        self.backward: Part = ("backward", name)
        self.recompute: Part = ("recompute", name)


class Call:
    """One call of a stage: the autograd nodes from `first` to before `last` were made in it.

    `outer` is the call that it lies in. Lives as long as the graph, so it holds nothing else.
    """

    __slots__ = ("first", "is_counted", "last", "outer", "stage")

    def __init__(self, stage: Stage, outer: "Call | None") -> None:
        self.stage = stage
        self.first = _next_node()
        self.last = self.first
        self.outer = outer
        self.is_counted = False


class _Lane:
    """The calls of one thread, in order of their ends, and the nodes that have a hook already.

    Nodes before `oldest` are of an earlier step: whose they are is no longer known.
    """

    __slots__ = ("closed", "hooked", "oldest")

    def __init__(self) -> None:
        self.oldest = _next_node()
        self.closed: list[Call] = []
        self.hooked: set[int] = set()

    def maker(self, node: int, running: Call | None) -> Call | None:
        """The innermost call that made a node; None if it was made outside of every call."""
        while running is not None and node < running.first:
            running = running.outer
        made_by = running
        for call in reversed(self.closed):
            if call.last <= node:
                break
            if call.first <= node:
                made_by = call
        return made_by


class BackwardTrail:
    """Marks where the backward pass goes from one stage to another while it is `running`.

    Two neighbouring marks bound a stretch that belongs to the part named with the first of them.
    """

    def __init__(
        self,
        timer: Timer,
        memory: StepMemory,
        ranges: Ranges | None = None,
        cost: OwnCost | None = None,
    ) -> None:
        self.running = False
        self.part: Part | None = None
        self._timer = timer
        self._memory = memory
        self._ranges = ranges or NoRanges()
        self._range: Range | None = None
        self._reached = self._reaching(cost or OwnCost(perf_counter_ns))
        self._stretches: list[tuple[Mark, Part | None]] = []
        self._calls: dict[Part, int] = {}
        self._counted: list[Call] = []
        self._lanes: dict[int, _Lane] = {}
        self._tasks: list[tuple[int, Part | None]] = []
        self._task: int | None = None

    def forward_begins(self) -> None:
        """What this thread makes from here on belongs to the step."""
        self._lanes.setdefault(get_ident(), _Lane())

    def watch_inputs(self, inputs: Any, running: Call | None) -> None:
        """Notices when the backward comes to what made the inputs of a call."""
        lane = self._lanes.get(get_ident()) or self._new_lane()
        for value in inputs if type(inputs) is tuple else (inputs,):
            if type(value) is Tensor:
                self._watch_tensor(lane, value, running, lane.oldest)
            elif value is not None:
                self._watch(lane, value, running, lane.oldest)

    def watch_outputs(self, outputs: Any, call: Call) -> None:
        """Notices when the backward comes to what a call has returned; the call has ended."""
        call.last = last = _next_node()
        if last == call.first:
            return
        lane = self._lanes.get(get_ident()) or self._new_lane()
        lane.closed.append(call)
        if type(outputs) is Tensor:
            self._watch_tensor(lane, outputs, call.outer, call.first)
        else:
            self._watch(lane, outputs, call.outer, call.first)

    def switch(self, part: Part | None) -> None:
        """What runs from here on belongs to another part, or to none."""
        if part == self.part or not self.running:
            return
        self._pass(part)

    def count(self, part: Part) -> None:
        """Counts a run of a part."""
        self._calls[part] = self._calls.get(part, 0) + 1

    def pause(self) -> None:
        """Something that is not the backward pass interrupts it."""
        if self.part is not None:
            part = self.part
            self._pass(None)
            self.part = part
        self.running = False

    def resume(self) -> None:
        """The backward pass begins, or goes on."""
        self.running = True
        if self.part is not None:
            self._stretches.append((self._timer.mark(), self.part))

    def end(self) -> None:
        """The backward pass is over, also if an exception cut it off."""
        self.switch(None)
        self.part = None
        self._tasks.clear()
        self._task = None

    def take(self) -> tuple[list[tuple[Mark, Part | None]], dict[Part, int]]:
        """The stretches and the runs of each part since the last `take`."""
        stretches, self._stretches = self._stretches, []
        calls, self._calls = self._calls, {}
        for call in self._counted:
            call.is_counted = False  # a graph that is kept may be run again in a later step
            calls[call.stage.backward] = calls.get(call.stage.backward, 0) + 1
        self._counted.clear()
        self._lanes.clear()
        return stretches, calls

    def _new_lane(self) -> _Lane:
        lane = self._lanes[get_ident()] = _Lane()
        return lane

    def _watch(self, lane: _Lane, values: Any, running: Call | None, oldest: int) -> None:
        for tensor in tensors_of(values):
            self._watch_tensor(lane, tensor, running, oldest)

    def _watch_tensor(self, lane: _Lane, tensor: Tensor, running: Call | None, oldest: int) -> None:
        try:
            node = tensor.grad_fn
            if node is None:
                return
            number = node._sequence_nr()
            if number in lane.hooked:
                return
            if number >= oldest:
                self._hook(lane, node, number, running)
            # What changes a view in place later takes the view's own node out of the graph.
            if tensor._is_view() and tensor._base is not None and tensor._base.requires_grad:
                self._watch_tensor(lane, tensor._base, running, oldest)
        except RuntimeError:  # a view that PyTorch refuses to differentiate: nothing to time
            return

    def _hook(self, lane: _Lane, node: Any, number: int, running: Call | None) -> None:
        lane.hooked.add(number)
        node.register_prehook(partial(self._reached, lane.maker(number, running)))

    def _reaching(self, cost: OwnCost) -> Callable[[Call | None, Any], None]:
        """The hook in front of a node, its own time added up."""
        reach, now_ns = self._reach, cost.now_ns
        one_clock = self._timer.mark == now_ns

        def reached(call: Call | None, gradients: Any) -> None:
            if is_compiling():
                return
            began_ns = now_ns()
            reach(call, began_ns if one_clock else None)
            cost.spent_ns += now_ns() - began_ns

        return reached

    def _reach(self, call: Call | None, mark: Mark) -> None:
        """A node is about to run that `call` has made; may run in a thread of autograd's."""
        if not self.running:
            return
        task = _graph_task()
        if task != self._task:
            self._enter_task(task)
        part = None
        if call is not None:
            if not call.is_counted:
                self._count_call(call)
            part = call.stage.backward
        if part != self.part:
            self._pass(part, mark)

    def _count_call(self, call: Call | None) -> None:
        while call is not None and not call.is_counted:
            call.is_counted = True
            self._counted.append(call)
            call = call.outer

    def _enter_task(self, task: int) -> None:
        """A backward pass of its own begins, as reentrant checkpointing has them."""
        self._tasks.append((task, self.part))
        self._task = task
        Variable._execution_engine.queue_callback(partial(self._leave_task, task))

    def _leave_task(self, task: int) -> None:
        """Its last node has run; what waits for other ranks comes after this."""
        while any(number == task for number, _ in self._tasks):
            number, before = self._tasks.pop()
            self._task = self._tasks[-1][0] if self._tasks else None
            if number == task:
                self.switch(before)

    def _pass(self, part: Part | None, mark: Mark = None) -> None:
        if self._memory.sampling:
            self._memory.part_ends(*(self.part or ("backward", None)))
        if self._range is not None:
            self._ranges.close(self._range)
        self._stretches.append((self._timer.mark() if mark is None else mark, part))
        self._range = self._ranges.open(range_name(part)) if part is not None else None
        self.part = part


def range_name(part: Part) -> str:
    """What a stage's backward or recomputation is called in a trace: `vrt.stage3.backward`."""
    direction, stage = part
    return f"{stage}.{direction}"
