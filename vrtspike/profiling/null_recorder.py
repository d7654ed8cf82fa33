"""A recorder that records nothing."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from torch import Tensor, nn

from vrtspike.profiling.recorder import EndStatus
from vrtspike.profiling.spans import SpanValues, Value

_NOTHING = nullcontext()


class NullRecorder:
    """Records nothing, with the methods of a recorder; for ranks and tools without one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def observe(self, model: nn.Module, stages: Mapping[str, Sequence[str]]) -> None:
        """Nothing."""

    def checkpoint_context(self) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """Two contexts that do nothing."""
        return _NOTHING, _NOTHING

    def begin_step(self, step: int) -> None:
        """Nothing."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Nothing."""
        return _NOTHING

    def end_step(
        self,
        *,
        micro_batches: int,
        samples: int | None,
        loss: Tensor | float | None = None,
        loss_terms: Mapping[str, Tensor | float] | None = None,
        lr: float | None = None,
        grad_norm: Tensor | float | None = None,
    ) -> None:
        """Nothing."""

    def tag(self, tag: str) -> None:
        """Nothing."""

    def span(self, name: str) -> AbstractContextManager[SpanValues]:
        """Values that nobody reads."""
        return nullcontext(SpanValues())

    def event(self, name: str, **values: Value) -> None:
        """Nothing."""

    def finish(self, status: EndStatus) -> None:
        """Nothing."""
