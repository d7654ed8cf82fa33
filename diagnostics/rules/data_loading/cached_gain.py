"""What a cache in memory saves of the wait for data, over all epochs that a run was to have.

The first epoch reads each frame once, whatever the cache; the later ones read what does not fit.
"""

from dataclasses import dataclass

from diagnostics.rules.data_loading.loader_capacity import LoaderCapacity
from diagnostics.rules.finding import Gain
from diagnostics.rules.measurements import Measurements

_LEAST_EPOCHS = 1.0


@dataclass(frozen=True, kw_only=True)
class CachedEpochs:
    """A run with the cache: shares of the reads that still go to the files, and the waits.

    `first_ms` is the mean wait of each step of the first epoch.
    """

    epochs: float
    first_misses: float
    later_misses: float
    first_ms: float
    gain: Gain


def cached_epochs(
    measured: Measurements, budget_bytes: float, capacity: LoaderCapacity
) -> CachedEpochs | None:
    """None where the run did not say what its data set holds, or has no second epoch."""
    first, decoded = measured.first_read_share, measured.data_decoded_bytes
    steps, planned = measured.steps_per_epoch, measured.steps_planned
    shares = measured.loading_shares
    if first is None or not decoded or not steps or planned is None or not shares:
        return None
    if measured.ranks_per_machine != (measured.world_size or 1):
        return None  # Each machine reads another part of the data in each epoch.
    epochs = planned / steps
    if epochs <= _LEAST_EPOCHS:
        return None
    # A random order hits by the share that is kept.
    later = max(0.0, 1.0 - budget_bytes / decoded)
    spared = shares.get("read", 0.0) + shares.get("decode", 0.0)
    waits = _Waits(measured, capacity, spared)
    likely_ms = waits.of_run(epochs, first, later, capacity.made_ms, in_turn=True)
    return CachedEpochs(
        epochs=epochs,
        first_misses=first,
        later_misses=later,
        first_ms=waits.of_misses(first, capacity.made_ms, in_turn=True),
        gain=Gain(
            low_ms=waits.saved(waits.of_run(epochs, first, later, capacity.made_p95_ms, True)),
            mid_ms=waits.saved(likely_ms),
            high_ms=waits.saved(waits.of_run(epochs, first, later, capacity.made_ms, False)),
        ),
    )


@dataclass(frozen=True)
class _Waits:
    measured: Measurements
    capacity: LoaderCapacity
    spared: float
    """Of the making, what a hit leaves out."""

    def saved(self, left_ms: float) -> float:
        return max(0.0, self.capacity.wait_ms - left_ms)

    def of_run(
        self, epochs: float, first: float, later: float, made_ms: float, in_turn: bool
    ) -> float:
        """Mean over the run."""
        in_first = self.of_misses(first, made_ms, in_turn=in_turn)
        in_later = self.of_misses(later, made_ms, in_turn=in_turn)
        return (in_first + (epochs - 1.0) * in_later) / epochs

    def of_misses(self, misses: float, made_ms: float, *, in_turn: bool) -> float:
        """Mean wait of a step where `misses` of the reads go to the files.

        `in_turn`: batches miss or hit as a whole, which waits longest; else each one in part.
        """
        if in_turn:
            return misses * self._wait(made_ms) + (1 - misses) * self._wait(self._hit(made_ms))
        return self._wait(misses * made_ms + (1 - misses) * self._hit(made_ms))

    def _hit(self, made_ms: float) -> float:
        return (1.0 - self.spared) * made_ms

    def _wait(self, made_ms: float) -> float:
        processes = self.measured.num_workers or 0
        if not processes:
            return self.capacity.passes * made_ms
        of_rank = max(1, processes // self.capacity.ranks_per_machine)
        return max(0.0, self.capacity.passes * made_ms / of_rank - self.capacity.busy_ms)
