"""`TRAIN.COMPILE_MODEL`: torch.compile of each stage, so that hooks still see the stages.

A stage's `forward` is compiled, not the model: module hooks stay outside of the compiled code and
parameters keep their names. Shapes are taken as fixed, because dynamic shapes and activation
checkpointing together crash PyTorch's tracer (its issue 193194).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import nn

from vrtspike.errors import ModelError

_MAX_VERSIONS = 64
"""All stages of one class share one code object, and each stage and crop size needs a version."""


def compile_stages(
    model: nn.Module,
    paths: Iterable[str],
    compiler: Callable[..., Any] | None = None,
) -> None:
    """Replace the `forward` of the named submodules by a compiled one.

    Args:
        model: the bare model.
        paths: dotted names of submodules, none inside another.
        compiler: replaces `torch.compile`.
    """
    torch._dynamo.config.recompile_limit = _MAX_VERSIONS
    compiler = compiler or torch.compile
    for path in paths:
        module = model.get_submodule(path)
        module.forward = _explained(compiler(module.forward, dynamic=False), path)


def eagerly(*, compiled: bool) -> AbstractContextManager[None]:
    """Runs compiled stages as they were written; nothing to do where none was compiled."""
    if not compiled:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


def compiled_graphs() -> int:
    """How many graphs were compiled in this process so far; it grows in a step that compiles."""
    stats = torch._dynamo.utils.counters["stats"]
    return int(stats["unique_graphs"])


def _explained(forward: Callable[..., Any], path: str) -> Callable[..., Any]:
    """Compilation happens at the first call; its failure must say which stage and which switch."""

    @wraps(forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().splitlines()
            raise ModelError(
                f"torch.compile failed at stage {path}: {type(error).__name__}: "
                f"{reason[0] if reason else 'no reason given'}; set TRAIN.COMPILE_MODEL=false"
            ) from error

    return call
