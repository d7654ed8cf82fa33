"""Who hears of a run's records as they are resolved, in step order."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from vrtspike.profiling.records import EventRecord, SpanRecord, StagesRecord, StepRecord


@runtime_checkable
class StepListener(Protocol):
    """Hears of every step. It must not raise for a fault of its own output."""

    def on_step(self, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
        """A step is resolved; on a GPU that is some steps after it ran."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


@runtime_checkable
class SpanListener(Protocol):
    """A listener that hears of spans outside steps too."""

    def on_span(self, span: SpanRecord) -> None:
        """A span has ended."""
        ...


@runtime_checkable
class EventListener(Protocol):
    """A listener that hears of events too."""

    def on_event(self, event: EventRecord) -> None:
        """Something worth knowing has happened."""
        ...
