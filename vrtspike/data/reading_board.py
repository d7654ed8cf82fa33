"""What every loading process is reading at this moment, for the one who waits for it.

A read of a disk that is gone can last for ever, and the process that hangs in it cannot say so.
Before each read it leaves the path and the time in shared memory, which costs microseconds. What
goes wrong in the threads that hand batches over is left there, too.
"""

import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils.data import get_worker_info

from vrtspike.data.loading_faults import LoadingStuckError
from vrtspike.data.nameless import shared_zeros
from vrtspike.data.orphans import Parent

_MAX_PATH_BYTES = 4096
_MAX_WORDS_BYTES = 1024

_BOARDS: "weakref.WeakSet[ReadingBoard]" = weakref.WeakSet()

HANGS = (
    "is the disk or the network share that holds it slow, or gone? If waiting so long is in order, "
    "raise DATALOADER.BATCH_TIMEOUT_S"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A read under way: by the process of `slot` (0 the owner, 1.. its workers), for `seconds`."""

    slot: int
    path: str
    seconds: float


class ReadingBoard:
    """One line for each of the processes that load for one data set.

    Args:
        workers: Loading processes beside the one that owns the data set.
        limit_s: How long the owner's own reads may take; None for ever. Those of the workers are
            watched from outside.
        clock_ns: A monotonic clock that all processes of the machine share, in ns.
    """

    def __init__(
        self,
        workers: int,
        limit_s: float | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.workers = workers
        self.parent: Parent | None = None
        """Who started them, set directly before."""
        self._clock_ns = clock_ns
        self._limit_s = limit_s
        self._times = shared_zeros(workers + 1, 2)
        self._names = shared_zeros(workers + 1, _MAX_PATH_BYTES, dtype=torch.uint8)
        self._words = shared_zeros(workers + 1, _MAX_WORDS_BYTES, dtype=torch.uint8)
        _BOARDS.add(self)

    def reading(self, path: Path) -> AbstractContextManager[None]:
        """Around one read; of a process that has no line here, nothing is told.

        Raises:
            LoadingStuckError: the owner's own read took longer than the limit.
        """
        worker = get_worker_info()
        slot = 0 if worker is None else worker.id + 1
        return self._reading(path, slot) if slot <= self.workers else nullcontext()

    @contextmanager
    def _reading(self, path: Path, slot: int) -> Iterator[None]:
        name = os.fsencode(path)[-_MAX_PATH_BYTES:]
        times, names = self._times.numpy()[slot], self._names.numpy()[slot]
        names[: len(name)] = bytearray(name)
        times[1] = len(name)
        times[0] = self._clock_ns()
        try:
            if slot or self._limit_s is None:
                yield
            else:
                with _alarm(self._limit_s, path):
                    yield
        finally:
            times[0] = 0

    def report(self, error: BaseException) -> None:
        """Leave what went wrong in this process, where nobody hears of it otherwise."""
        worker = get_worker_info()
        slot = 0 if worker is None else worker.id + 1
        if slot <= self.workers:
            words = f"{type(error).__name__}: {error}".encode()[: _MAX_WORDS_BYTES - 1]
            self._words.numpy()[slot, : len(words)] = bytearray(words)

    def reports(self) -> list[str]:
        """What went wrong, of all processes."""
        said = (bytes(row).partition(b"\0")[0] for row in self._words.numpy())
        return [words.decode(errors="replace") for words in said if words]

    def readings(self) -> list[Reading]:
        """The reads under way, the longest first."""
        now, found = self._clock_ns(), []
        for slot, (began, length) in enumerate(self._times.tolist()):
            if began:
                name = bytes(self._names.numpy()[slot, :length])
                found.append(Reading(slot, os.fsdecode(name), (now - began) / 1e9))
        return sorted(found, key=lambda each: -each.seconds)


def all_reports() -> list[str]:
    """What went wrong in any loading process of this one; PyTorch tells of a death anywhere."""
    return [words for board in list(_BOARDS) for words in board.reports()]


@contextmanager
def _alarm(limit_s: float, path: Path) -> Iterator[None]:
    """Breaks a read off: without loading processes nobody else could. For the main thread."""
    is_free = signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread() or not is_free:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> Any:
        raise LoadingStuckError(f"{path}: could not be read for {limit_s:g} s: {HANGS}")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
