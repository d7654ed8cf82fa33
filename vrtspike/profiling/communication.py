"""What the exchange of gradients costs a step: watched from outside, bucket by bucket.

DDP hands each full bucket of gradients to a hook. `timed` wraps such a hook and marks when it was
called, when it had launched the exchange, and when the exchange was complete. Nothing is waited
for, and nothing is changed: the hook's own result is passed on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial, wraps
from typing import Self, TypeVar

import torch
from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.futures import Future

from vrtspike.profiling.clock import SystemClock
from vrtspike.profiling.cuda_events import CudaEventTimer
from vrtspike.profiling.parts import NO_FIELDS, RecorderPart, StepFields
from vrtspike.profiling.records import CommunicationRecord
from vrtspike.profiling.timers import HostTimer, Mark, Timer, round_ms

S = TypeVar("S")
GradientHook = Callable[[S, GradBucket], Future[Tensor]]
"""What DDP calls with each full bucket; the future holds the gradients to go on with."""

_NOTHING: AbstractContextManager[None] = nullcontext()


@dataclass(slots=True)
class _Exchange:
    """One bucket: when its gradients were there, when its exchange was launched and complete."""

    ready: Mark
    launched: Mark
    num_bytes: int
    ends_backward: bool
    done: Mark | None = None


class Communication(RecorderPart):
    """Measures the exchange of gradients in every step, and the waits in other collectives.

    Args:
        timer: Takes the marks; a timer of its own, since DDP calls from threads of its own.
    """

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._exchanges: list[_Exchange] = []
        self._waits: list[tuple[Mark, Mark]] = []
        self._in_step = False

    @classmethod
    def fitting(cls, device: torch.device) -> Self:
        """By CUDA events on a GPU, else by the host's clock."""
        on_gpu = device.type == "cuda"
        return cls(CudaEventTimer(device) if on_gpu else HostTimer(SystemClock()))

    def timed(self, hook: GradientHook[S]) -> GradientHook[S]:
        """The same hook, watched.

        On a GPU the completion is marked on the stream that the future's callback runs on, which
        waits for the exchange; so the mark is passed when the exchange is complete.
        """

        @wraps(hook)
        def watched(state: S, bucket: GradBucket) -> Future[Tensor]:
            ready = self._timer.mark()
            future = hook(state, bucket)
            buffer = bucket.buffer()
            exchange = _Exchange(
                ready=ready,
                launched=self._timer.mark(),
                num_bytes=buffer.numel() * buffer.element_size(),
                ends_backward=bucket.is_last(),
            )
            self._exchanges.append(exchange)
            return future.then(partial(self._complete, exchange))

        return watched

    def _complete(self, exchange: _Exchange, future: Future[Tensor]) -> Tensor:
        exchange.done = self._timer.mark()
        return future.value()

    def waiting(self) -> AbstractContextManager[None]:
        """Around a collective of the trainer's own: inside a step, its time is a wait."""
        return self._measured_wait() if self._in_step else _NOTHING

    @contextmanager
    def _measured_wait(self) -> Iterator[None]:
        start = self._timer.mark()
        yield
        self._waits.append((start, self._timer.mark()))

    def step_begins(self, step: int) -> None:
        """What an abandoned step left is forgotten."""
        self._exchanges, self._waits, self._in_step = [], [], True

    def step_ends(self, step: int) -> StepFields:
        """The record of the step, to be read when the device has passed its end."""
        exchanges, waits = self._exchanges, self._waits
        self._exchanges, self._waits, self._in_step = [], [], False
        if not exchanges and not waits:
            return NO_FIELDS
        return {"communication": lambda: self._resolve(exchanges, waits)}

    def _resolve(
        self, exchanges: list[_Exchange], waits: list[tuple[Mark, Mark]]
    ) -> CommunicationRecord | None:
        """None where an exchange never completed: half of the time would be a wrong time."""
        marks = [mark for each in exchanges for mark in (each.ready, each.launched, each.done)]
        marks += [mark for pair in waits for mark in pair]
        if not all(mark is not None and self._timer.done(mark) for mark in marks):
            return None
        record = CommunicationRecord(
            clock=self._timer.clock,
            buckets=len(exchanges),
            bytes=sum(each.num_bytes for each in exchanges),
            exchanges=sum(each.ends_backward for each in exchanges),
            ms=self._under_way_ms(exchanges),
            exposed_ms=round_ms(sum(map(self._exposed_ms, _by_backward(exchanges)))),
            launch_ms=self._sum_ms((each.ready, each.launched) for each in exchanges),
            wait_ms=self._sum_ms(waits),
        )
        self._timer.release(marks)
        return record

    def _under_way_ms(self, exchanges: list[_Exchange]) -> float:
        """The length of the union of the times in which an exchange was under way."""
        if not exchanges:
            return 0.0
        origin = exchanges[0].launched
        times = sorted(
            (self._timer.elapsed_ms(origin, each.launched), self._elapsed_to_done(origin, each))
            for each in exchanges
        )
        total, covered = 0.0, times[0][0]
        for start, end in times:
            total += max(0.0, end - max(start, covered))
            covered = max(covered, end)
        return round_ms(total)

    def _exposed_ms(self, backward: list[_Exchange]) -> float:
        """From the last gradient, after which nothing is left to compute, to the last exchange."""
        last = backward[-1].launched
        return max(0.0, *(self._elapsed_to_done(last, each) for each in backward))

    def _elapsed_to_done(self, origin: Mark, exchange: _Exchange) -> float:
        return self._timer.elapsed_ms(origin, exchange.done)

    def _sum_ms(self, pairs: Iterable[tuple[Mark, Mark]]) -> float:
        return round_ms(sum((self._timer.elapsed_ms(*pair) for pair in pairs), 0.0))


def _by_backward(exchanges: list[_Exchange]) -> Iterator[list[_Exchange]]:
    """The exchanges of each backward pass; the last one of a pass says so."""
    group: list[_Exchange] = []
    for each in exchanges:
        group.append(each)
        if each.ends_backward:
            yield group
            group = []
    if group:
        yield group
