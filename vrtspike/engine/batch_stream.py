"""Micro-batches without end: epoch after epoch, from any position, in a fixed order.

Accumulation groups run across the end of an epoch: the micro-batches left over at its end begin
the first group of the next one, so that every optimizer step has equally many and none is lost.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch

from vrtspike.data.epoch_size import NO_BATCH
from vrtspike.data.loading_faults import died_handing_over, explain_fault
from vrtspike.engine import random_state
from vrtspike.errors import DataError

Batch = Mapping[str, Any]

_CPU = torch.device("cpu")


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
            raise DataError(NO_BATCH)
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
        return next(iterator)
    except StopIteration:
        raise DataError("the data set ended before its epoch did: did its files change?") from None
    except (EOFError, ConnectionError) as error:
        raise (explain_fault(error) or died_handing_over()) from error
    except (RuntimeError, OSError) as error:
        if (explained := explain_fault(error)) is None:
            raise
        raise explained from error
