"""Micro-batches without end: epoch after epoch, from any position, in a fixed order.

Accumulation groups run across the end of an epoch: the micro-batches left over at its end begin
the first group of the next one, so that every optimizer step has equally many and none is lost.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch

from vrtspike.engine import random_state
from vrtspike.errors import DataError

Batch = Mapping[str, Any]

_CPU = torch.device("cpu")


class LoadingDiedError(DataError):
    """A process that loads data is gone; `signal_name` as the system words it, where known."""

    def __init__(self, message: str, signal_name: str | None = None) -> None:
        super().__init__(message)
        self.signal_name = signal_name


class EpochSource(Protocol):
    """Where the micro-batches of an epoch come from; their order depends on the epoch alone."""

    def __len__(self) -> int:
        """Micro-batches in a whole epoch, on each rank."""
        ...

    def start(self, epoch: int, micro_batch: int) -> Iterator[Batch]:
        """The micro-batches of an epoch from the given one on."""
        ...


class BatchStream:
    """The endless stream; `epoch` and `micro_batch` say which micro-batch comes next."""

    def __init__(self, source: EpochSource, epoch: int = 0, micro_batch: int = 0) -> None:
        """Begin at a position.

        Raises:
            DataError: an epoch has no micro-batch.
        """
        if len(source) == 0:
            raise DataError(
                "an epoch has no batch: there are fewer training samples than TRAIN.BATCH_SIZE "
                "times processes (DATALOADER.DROP_LAST leaves incomplete batches out)"
            )
        self._source = source
        self._iterator: Iterator[Batch] | None = None
        self.epoch = epoch + micro_batch // len(source)
        self.micro_batch = micro_batch % len(source)

    @property
    def per_epoch(self) -> int:
        """Micro-batches in a whole epoch."""
        return len(self._source)

    def next(self) -> Batch:
        """The next micro-batch.

        Raises:
            DataError: the data is broken, or a loading process died; one line.
        """
        if self._iterator is None:
            self._iterator = self._quietly(self.epoch, self.micro_batch)
        batch = _fetch(self._iterator)
        self.micro_batch += 1
        if self.micro_batch == len(self._source):
            self.epoch, self.micro_batch, self._iterator = self.epoch + 1, 0, None
        return batch

    def _quietly(self, epoch: int, micro_batch: int) -> Iterator[Batch]:
        """Start an epoch without a trace in the global random numbers.

        A DataLoader draws from them when it starts, and a resumed run starts once more often.
        """
        with random_state.untouched(_CPU):
            return iter(self._source.start(epoch, micro_batch))


def _fetch(iterator: Iterator[Batch]) -> Batch:
    try:
        try:
            return next(iterator)
        except (EOFError, ConnectionError) as error:
            # The process died while it handed a batch over. PyTorch's handler of the signal, due
            # now, ends this wait and knows what killed it.
            time.sleep(_SIGNAL_DUE_S)
            raise LoadingDiedError(
                f"a data loading process died while it handed over a batch. {_PERHAPS}", None
            ) from error
    except StopIteration:
        raise DataError("the data set ended before its epoch did: did its files change?") from None
    except RuntimeError as error:
        if (explained := explain_death(error)) is None:
            raise
        raise explained from error


_SIGNAL_DUE_S = 2.0
_FEWER = "lower DATALOADER.TOTAL_WORKERS, DATA.CACHE_SIZE_GB or DATALOADER.TRAIN_PREFETCH_FACTOR"
_LIKELY = {
    "Killed": f"The system kills so when host memory runs out, which is likely the cause: {_FEWER}",
    "Bus error": "So ends a process that finds /dev/shm full: start the container with a larger "
    f"--shm-size, or {_FEWER}",
}
_PERHAPS = f"If host memory ran out, {_FEWER}"


# A worker's own exception reads "Caught RuntimeError in DataLoader worker process 0": no death.
_DIED = re.compile(r"(?<! in )DataLoader worker")
_SHARED_MEMORY = re.compile(r"unable to [^<>]*file </torch_[^<>]*>[^<>]*\(\d+\)")


def explain_death(error: BaseException) -> LoadingDiedError | None:
    """One line for what PyTorch raises, anywhere, when a loading process dies; None for others.

    PyTorch learns the signal in one place and may raise from another: the whole chain is looked at.
    """
    said = [" ".join(str(each).split()) for each in _chain(error)]
    if (full := _SHARED_MEMORY.search(said[0])) is not None:
        return LoadingDiedError(f"{full[0]}. {_LIKELY['Bus error']}", None)
    deaths = [text for text in said if _DIED.search(text)]
    if not deaths:
        return None
    named = next((text for text in deaths if "killed by signal" in text), deaths[0])
    found = re.search(r"killed by signal: ([\w ]+)", named)
    signal_name = found[1].strip() if found else None
    likely = _LIKELY.get(signal_name or "", _PERHAPS)
    return LoadingDiedError(f"a data loading process died: {named} {likely}", signal_name)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
