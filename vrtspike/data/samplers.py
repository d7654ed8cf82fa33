"""Orders of samples that are the same on every run, and can be resumed in the middle."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from vrtspike.errors import DataError


class ShuffleSampler(Sampler[int]):
    """Every sample at most once an epoch, in an order drawn from (seed, epoch), split by rank.

    All ranks get equally many: up to world_size - 1 samples of an epoch are left out, others each
    time.
    """

    def __init__(self, length: int, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """Shuffle `length` samples; raises DataError with fewer samples than ranks."""
        if length < world_size:
            raise DataError(f"{length} training samples cannot be shared by {world_size} ranks")
        self._length = length
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and how many samples of this rank were already used in it."""
        if not 0 <= start <= self.samples_per_epoch:
            raise DataError(
                f"cannot resume at sample {start} of an epoch of {self.samples_per_epoch}: "
                "the data set is not the one that the run began with"
            )
        self._epoch = epoch
        self._start = start

    @property
    def samples_per_epoch(self) -> int:
        """Samples of this rank in a whole epoch."""
        return self._length // self._world_size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._length)
        own = order[self._rank :: self._world_size][: self.samples_per_epoch]
        return iter(own[self._start :].tolist())

    def __len__(self) -> int:
        return self.samples_per_epoch - self._start


class ShardSampler(Sampler[int]):
    """Every sample exactly once over all ranks, in order: nothing is counted twice."""

    def __init__(self, length: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._own = range(rank, length, world_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)
