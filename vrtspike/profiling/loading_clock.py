"""Times what the making of a batch consists of, inside the process that makes it.

The clock is injected into a data set, which opens parts (`with clock.part("decode"):`) around its
pure functions, and into the function that collates. What it measured travels with the batch as a
few packed bytes: a tensor would cost a file descriptor, a shared-memory ring a bound on processes.
"""

import struct
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from torch.utils.data import Dataset, get_worker_info

from vrtspike.profiling.records import LOADING_OTHER, LOADING_PARTS

Sample = TypeVar("Sample", covariant=True)
PerfNs = Callable[[], int]

_NOTHING = nullcontext()
_COLLATE = "collate"
_MAIN_PROCESS = -1
_HEAD = struct.Struct("<iIqH")


class PartTimer(Protocol):
    """What a data set asks of a clock."""

    def sample(self) -> AbstractContextManager[None]:
        """Around the loading of one sample."""
        ...

    def part(self, name: str) -> AbstractContextManager[None]:
        """Around one part of it."""
        ...


class SilentTimer:
    """Measures nothing, at the price of a method call."""

    def sample(self) -> AbstractContextManager[None]:
        """Nothing."""
        return _NOTHING

    def part(self, name: str) -> AbstractContextManager[None]:
        """Nothing."""
        return _NOTHING


class TimedBatch(NamedTuple):
    """A batch as a timed collation hands it over; `timing` is empty where it is unknown."""

    batch: Any
    timing: bytes


@dataclass(frozen=True, slots=True)
class BatchTiming:
    """How a batch was made. `worker` is None in the training process.

    `part_ns` holds every part and `other`, summed over the batch's samples; its values sum to
    `made_ns`. `done_ns` is the moment at which the batch was whole, by the machine-wide monotonic
    clock.
    """

    worker: int | None
    samples: int
    done_ns: int
    part_ns: dict[str, int]

    @property
    def made_ns(self) -> int:
        """The time the batch took to make, without what lay between its samples."""
        return sum(self.part_ns.values())


class LoadingClock:
    """Sums the time of each part over the samples of a batch, in the process that loads them.

    A part inside another one is not charged to the outer one; what no part covers is `other`. The
    clock is copied into every loading process; each copy counts for itself.

    Args:
        parts: Names of the parts; `collate` and `other` are always there.
        perf_ns: A monotonic clock that all processes of the machine share, in ns.
    """

    def __init__(
        self, parts: Sequence[str] = LOADING_PARTS, *, perf_ns: PerfNs = time.perf_counter_ns
    ) -> None:
        self.parts = tuple(dict.fromkeys((*parts, _COLLATE, LOADING_OTHER)))
        self._perf_ns = perf_ns
        self._names = "\n".join(self.parts).encode()
        self._times = f"<{len(self.parts)}q"
        self._contexts = {name: _Part(self, place) for place, name in enumerate(self.parts)}
        self._sample = _WholeSample(self, self.parts.index(LOADING_OTHER))
        self._open: list[int] = []
        self._since_ns = 0
        self._samples = 0
        self._spent_ns = [0] * len(self.parts)

    def sample(self) -> AbstractContextManager[None]:
        """Around the loading of one sample; an exception drops what the batch spent so far."""
        return self._sample

    def part(self, name: str) -> AbstractContextManager[None]:
        """Around one part; may repeat and nest.

        Raises:
            ValueError: the clock has no part of that name.
        """
        context = self._contexts.get(name)
        if context is None:
            raise ValueError(f"unknown part {name!r}; known: {', '.join(self.parts)}")
        return context

    def collating(self, collate: Callable[[list[Any]], Any]) -> "TimedCollate":
        """The `collate_fn` of a DataLoader whose batches carry their timing.

        Read them through `LoaderFacts`, which takes the timing off again.
        """
        return TimedCollate(self, collate)

    def timing_samples(self, dataset: "Dataset[Sample]") -> "TimedDataset[Sample]":
        """A data set that knows nothing of clocks, each sample timed as a whole."""
        return TimedDataset(dataset, self)

    def pack(self, samples: int, worker: int | None) -> bytes:
        """What was spent since the last call; empty if it is not of so many samples."""
        spent, count = self._spent_ns, self._samples
        self.forget()
        if count != samples:
            return b""
        number = _MAIN_PROCESS if worker is None else worker
        head = _HEAD.pack(number, samples, self._perf_ns(), len(self._names))
        return head + self._names + struct.pack(self._times, *spent)

    def forget(self) -> None:
        """Starts a new batch."""
        self._spent_ns = [0] * len(self.parts)
        self._samples = 0

    def enter(self, place: int) -> None:
        """Opens the part at `place`."""
        self._charge()
        self._open.append(place)

    def leave(self) -> None:
        """Closes the innermost part."""
        self._charge()
        self._open.pop()

    def count_sample(self) -> None:
        """One more sample of the batch is there."""
        self._samples += 1

    def _charge(self) -> None:
        # A clock that steps back would make a part negative, and the one before it too long.
        now = max(self._perf_ns(), self._since_ns)
        if self._open:
            self._spent_ns[self._open[-1]] += now - self._since_ns
        self._since_ns = now


def unpack_timing(timing: bytes) -> BatchTiming | None:
    """The other end of `LoadingClock.pack`; None where the timing is unknown."""
    if len(timing) < _HEAD.size:
        return None
    worker, samples, done_ns, length = _HEAD.unpack_from(timing)
    names = timing[_HEAD.size : _HEAD.size + length].decode().split("\n")
    spent = struct.unpack_from(f"<{len(names)}q", timing, _HEAD.size + length)
    return BatchTiming(
        worker=None if worker == _MAIN_PROCESS else worker,
        samples=samples,
        done_ns=done_ns,
        part_ns=dict(zip(names, spent, strict=True)),
    )


class _Part:
    """`with part:`; one object for each name, since the state lies in the clock."""

    __slots__ = ("_clock", "_place")

    def __init__(self, clock: LoadingClock, place: int) -> None:
        self._clock = clock
        self._place = place

    def __enter__(self) -> None:
        self._clock.enter(self._place)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clock.leave()


class _WholeSample(_Part):
    """As a part, and counts the sample; one that failed takes its batch with it."""

    __slots__ = ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clock.leave()
        if kind is None:
            self._clock.count_sample()
        else:
            self._clock.forget()


class TimedCollate:
    """Collates as told, and adds how long the batch took to make."""

    def __init__(self, clock: LoadingClock, collate: Callable[[list[Any]], Any]) -> None:
        self._clock = clock
        self._collate = collate

    def __call__(self, samples: list[Any]) -> TimedBatch:
        """The batch and its timing."""
        with self._clock.part(_COLLATE):
            batch = self._collate(samples)
        info = get_worker_info()
        count = len(samples) if hasattr(samples, "__len__") else 0
        return TimedBatch(batch, self._clock.pack(count, None if info is None else info.id))


class TimedDataset(Dataset[Sample], Generic[Sample]):
    """A map-style data set whose samples are timed as a whole."""

    def __init__(self, dataset: Dataset[Sample], clock: LoadingClock) -> None:
        self.dataset = dataset
        self._clock = clock

    def __getitem__(self, index: Any) -> Sample:
        """The sample, timed."""
        with self._clock.sample():
            return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # torch declares no __len__
