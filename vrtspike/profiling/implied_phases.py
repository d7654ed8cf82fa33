"""Phases of a loop that does not name them, from what PyTorch tells: hooks of model and optimizer.

The forward is what runs in the observed model with gradients on; the backward lasts from the first
gradient of an observed output to the end of the autograd engine's work; the optimizer is
`Optimizer.step`. A phase that the loop names itself is never touched: nothing is implied inside it.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from vrtspike.profiling.step_loop import StepLoop

_MAX_OUTPUTS, _MAX_DEPTH = 8, 3


class ImpliedPhases:
    """Opens and closes phases of the running step by itself, one at a time."""

    def __init__(self, loop: StepLoop) -> None:
        self._loop = loop
        self._owner: object = None
        self._model: nn.Module | None = None
        self._context: AbstractContextManager[None] | None = None
        self._handles: list[RemovableHandle] = []

    def watch_optimizers(self) -> None:
        """Every optimizer's step from now on."""
        self._handles.append(register_optimizer_step_pre_hook(self._optimizer_begins))
        self._handles.append(register_optimizer_step_post_hook(self._optimizer_ends))

    def watch_forward(self, model: nn.Module, parts: Iterable[nn.Module]) -> None:
        """The model, and parts that may be called without it; after their own hooks are set."""
        self._model = self._model or model
        for module in dict.fromkeys((model, *parts)):
            begins = module.register_forward_pre_hook(self._forward_begins, prepend=True)
            # First, so that the backward is open when the stage's own hooks hear of it.
            leaves = module.register_forward_hook(self._watch_outputs, prepend=True)
            ends = module.register_forward_hook(self._forward_ends, always_call=True)
            self._handles += [begins, leaves, ends]

    def close_open(self) -> None:
        """Closes what an exception left open."""
        if self._context is not None:
            context, self._context, self._owner = self._context, None, None
            context.__exit__(None, None, None)

    def detach(self) -> None:
        """Takes every hook back."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _open(self, name: str, owner: object) -> None:
        if not self._loop.can_open_phase:
            return
        self._owner, self._context = owner, self._loop.phase(name)
        self._context.__enter__()

    def _close(self, owner: object) -> None:
        if self._context is not None and self._owner is owner:
            self.close_open()

    def _forward_begins(self, module: nn.Module, args: Any) -> None:
        # Asked first: inside a compiled region nothing of this may be traced.
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return
        if self._context is None and not _in_backward():
            self._open("forward", module)
            self._loop.forwards += module is self._model and self._owner is module

    def _watch_outputs(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling() or self._loop.spans_open or _in_backward():
            return
        for tensor in _graph_tensors(output)[:_MAX_OUTPUTS]:
            tensor.register_hook(self._gradient_came)

    def _forward_ends(self, module: nn.Module, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            self._close(module)

    def _gradient_came(self, gradient: Tensor) -> None:
        if self._context is not None or not self._loop.can_open_phase:
            return
        self._open("backward", self)
        Variable._execution_engine.queue_callback(self._engine_done)

    def _engine_done(self) -> None:
        """The last node has run; DistributedDataParallel's wait for other ranks is queued here.

        That wait belongs to the backward, so its end is put behind everything that is queued now.
        """
        Variable._execution_engine.queue_callback(self._backward_ends)

    def _backward_ends(self) -> None:
        self._close(self)

    def _optimizer_begins(self, optimizer: object, args: Any, kwargs: Any) -> None:
        self._open("optimizer", optimizer)

    def _optimizer_ends(self, optimizer: object, args: Any, kwargs: Any) -> None:
        self._close(optimizer)


def _in_backward() -> bool:
    """Whether the autograd engine is what calls: then a forward is a recomputation."""
    return torch._C._current_graph_task_id() != -1


def _graph_tensors(output: Any, depth: int = 0) -> list[Tensor]:
    """Tensors of a model's output that have a gradient."""
    if isinstance(output, Tensor):
        return [output] if output.requires_grad else []
    if depth == _MAX_DEPTH:
        return []
    items = output.values() if isinstance(output, Mapping) else output
    if not isinstance(items, list | tuple) and items is output:
        return []
    return [tensor for item in items for tensor in _graph_tensors(item, depth + 1)]
