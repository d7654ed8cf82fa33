"""One span primitive for the whole program, as `with` and as decorator.

`span("forward")` measures a phase of the running step, any other name a span outside the steps.
It asks for the active recorder when it is entered and does nothing without one, so that code may
carry spans whether or not anybody records.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, ContextDecorator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from vrtspike.profiling.records import MEASURED_PHASES

Value = float | int | str | None


@dataclass
class SpanValues:
    """What a span found out; written with it when it ends."""

    values: dict[str, Value] = field(default_factory=dict)


def plain_values(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values as JSON can hold them: a number that is none becomes its name."""

    def plain(value: Value) -> Value:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if isinstance(value, bool):  # which the readers of numbers do not take for one
            return int(value)
        return value if value is None or isinstance(value, int | float | str) else str(value)

    return {name: plain(value) for name, value in values.items()}


class SpanSource(Protocol):
    """A recorder, as far as spans go."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A phase of the running step."""
        ...

    def span(self, name: str) -> AbstractContextManager[SpanValues]:
        """A span outside the steps."""
        ...


_active: list[SpanSource] = []


def activate(source: SpanSource) -> None:
    """Makes a recorder the one that `span` measures with."""
    _active.append(source)


def deactivate(source: SpanSource) -> None:
    """Takes it back."""
    if source in _active:
        _active.remove(source)


class span(ContextDecorator):  # noqa: N801  # reads as a verb: `with span("forward"):`
    """Measures a block or a function with the active recorder."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inner: AbstractContextManager[Any] | None = None

    def _recreate_cm(self) -> "span":
        return span(self._name)

    def __enter__(self) -> SpanValues:
        if not _active:
            return SpanValues()
        is_phase = self._name in MEASURED_PHASES
        self._inner = (_active[-1].phase if is_phase else _active[-1].span)(self._name)
        values = self._inner.__enter__()
        return values if isinstance(values, SpanValues) else SpanValues()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.__exit__(kind, error, trace)
