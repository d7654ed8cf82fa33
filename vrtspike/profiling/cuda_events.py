"""Device time by CUDA events: recorded now, read when the device has passed them.

Nothing here waits for the device, except `synchronize`, which the recorder calls once at the end
of a run. Events and pinned buffers come from pools, so that a long run allocates nothing new.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vrtspike.profiling.timers import Mark, scalar

MAX_SCALARS = 32
"""Scalars that a step may read from the device: loss, its terms, the gradient norm."""


class Event(Protocol):
    """What is used of `torch.cuda.Event`."""

    def record(self, stream: Any = None) -> None:
        """Puts the event at the end of the stream's queue."""
        ...

    def query(self) -> bool:
        """Whether the device has passed it."""
        ...

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this event to another; both passed."""
        ...


def _timing_event() -> Event:
    event: Event = torch.cuda.Event(enable_timing=True)
    return event


def _pinned_buffer() -> Tensor:
    return torch.empty(MAX_SCALARS, dtype=torch.float32, pin_memory=True)


class CudaEventTimer:
    """A timer whose marks are CUDA events on the current stream of one device.

    Args:
        device: The device whose current stream is marked.
        new_event: Makes an event; replaced in tests.
        new_buffer: Makes a pinned float32 buffer of `MAX_SCALARS`; replaced in tests.
        stream: Gives the stream to mark; replaced in tests.
    """

    clock: Literal["device", "host"] = "device"

    def __init__(
        self,
        device: torch.device,
        *,
        new_event: Callable[[], Event] = _timing_event,
        new_buffer: Callable[[], Tensor] = _pinned_buffer,
        stream: Callable[[torch.device], Any] = torch.cuda.current_stream,
        wait: Callable[[torch.device], None] = torch.cuda.synchronize,
    ) -> None:
        self._device = device
        self._new_event = new_event
        self._new_buffer = new_buffer
        self._stream = stream
        self._wait = wait
        self._events: list[Event] = []
        self._buffers: list[Tensor] = []

    def mark(self) -> Mark:
        """An event at the end of the current stream's queue."""
        event = self._events.pop() if self._events else self._new_event()
        event.record(self._stream(self._device))
        return event

    def done(self, mark: Mark) -> bool:
        """Whether the device has passed the event; never waits."""
        return bool(mark.query())

    def elapsed_ms(self, start: Mark, end: Mark) -> float:
        """Device time between two passed events."""
        return float(start.elapsed_time(end))

    def release(self, marks: Iterable[Mark]) -> None:
        """Takes events back; each must have been passed and be given back once."""
        self._events.extend(marks)

    def read(self, values: Sequence[Tensor | float]) -> Callable[[], list[float]]:
        """Copies device scalars to pinned memory in stream order, without waiting for them.

        The function returned must be called once, after an event recorded later is done.

        Raises:
            ValueError: more than `MAX_SCALARS` of the values lie on a device.
        """
        waiting = [
            (place, value.detach())
            for place, value in enumerate(values)
            if isinstance(value, Tensor) and value.device.type == self._device.type
        ]
        places = [place for place, _ in waiting]
        ready = [0.0 if i in places else scalar(value) for i, value in enumerate(values)]
        if not waiting:
            return lambda: ready
        if len(waiting) > MAX_SCALARS:
            raise ValueError(f"at most {MAX_SCALARS} device scalars a step, got {len(waiting)}")
        buffer = self._buffers.pop() if self._buffers else self._new_buffer()
        stacked = torch.stack([value.reshape(()).float() for _, value in waiting])
        buffer[: len(waiting)].copy_(stacked, non_blocking=True)

        def resolve() -> list[float]:
            for place, number in zip(places, buffer.tolist(), strict=False):
                ready[place] = number
            self._buffers.append(buffer)
            return ready

        return resolve

    def synchronize(self) -> None:
        """Waits until the device has passed every event."""
        self._wait(self._device)
