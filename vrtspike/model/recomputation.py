"""Activation checkpointing, and the one place where somebody outside may watch it.

A module that recomputes parts of itself in the backward pass has an attribute
`checkpoint_context`: a `context_fn` of `torch.utils.checkpoint`, or None.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ContextFn = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]
"""Gives a context for the first run of a checkpointed part and one for its recomputation."""


def recomputed(
    part: Callable[..., Tensor], *args: Tensor, draws: bool, context: ContextFn | None
) -> Tensor:
    """Runs a part and keeps its inputs only; the backward pass runs it again.

    Args:
        part: what to run.
        *args: its inputs.
        draws: whether it draws random numbers, whose state costs a copy to keep.
        context: entered around both runs; None enters nothing.
    """
    # torch.compile takes no other context than its own, so that none is passed on unless set.
    watched: dict[str, Any] = {} if context is None else {"context_fn": context}
    out: Tensor = checkpoint(part, *args, use_reentrant=False, preserve_rng_state=draws, **watched)
    return out


def set_checkpoint_context(model: nn.Module, context: ContextFn | None) -> None:
    """Gives every part of the model that recomputes itself the same context.

    Not for compiled parts: torch.compile does not take foreign contexts.
    """
    for module in model.modules():
        if hasattr(module, "checkpoint_context"):
            setattr(module, "checkpoint_context", context)  # noqa: B010  # no declared attribute
