"""Orders of samples that are the same on every run, and can be resumed in the middle."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from vrtspike.data.epoch_size import samples_of_each_rank
from vrtspike.data.sample_order import OrderPlan
from vrtspike.errors import DataError


class EpochSampler(Sampler[int]):
    """Every sample at most once an epoch, in an order drawn from (seed, epoch), split by rank.

    All ranks get equally many: up to world_size - 1 samples of an epoch are left out, others each
    time. Ranks take turns, so that those of one machine ask for the same frames at the same time.
    """

    def __init__(self, plan: OrderPlan, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """Go through the samples of `plan`; raises DataError with fewer samples than ranks."""
        length = len(plan.clips)
        self._samples_per_epoch = samples_of_each_rank(length, world_size)
        self._plan = plan
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
        return self._samples_per_epoch

    def __iter__(self) -> Iterator[int]:
        order = self._plan.epoch(self._seed, self._epoch)
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
