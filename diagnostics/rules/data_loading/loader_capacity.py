"""How many loading processes a step needs, from what making a batch takes and what a step computes.

A step that does not wait takes `passes` batches in the time it computes. A process makes one in
`made_ms`, so that `ceil(made_ms / time between two fetches)` of them keep up.
"""

import math
from dataclasses import dataclass

from diagnostics.rules.finding import Gain
from diagnostics.rules.measurements import Measurements

MOSTLY = 0.5
"""Fetches without a finished batch above this share: the step waits for the making."""

MOST = 10_000
"""A need beyond it is a step that computes nothing."""


@dataclass(frozen=True, kw_only=True)
class LoaderCapacity:
    """Of one rank, in ms: a batch's making by one process, and the time the step leaves for it."""

    made_ms: float
    made_p95_ms: float
    passes: float
    wait_ms: float
    busy_ms: float
    ranks_per_machine: int
    is_cpu_shared: bool
    """The model computes on the same cores as the loader: what one gains the other may lose."""

    @property
    def between_ms(self) -> float:
        """Between two fetches of a step that does not wait."""
        return self.busy_ms / self.passes

    @property
    def needed(self) -> int:
        """Loading processes of the machine that keep up with its ranks."""
        of_rank = math.ceil(min(MOST, self.made_ms / max(self.between_ms, 1e-9)))
        return max(1, of_rank) * self.ranks_per_machine

    def target_ms(self, processes: int) -> float:
        """What making a batch may take at most with so many processes on the machine."""
        return self.between_ms * max(1, processes // self.ranks_per_machine)

    def gain(self, processes: int) -> Gain:
        """What so many processes on the machine save of a step.

        `low` takes every batch to be as slow as one in twenty, and is 0 where loader and model
        share all cores.
        """
        of_rank = max(1, processes // self.ranks_per_machine)
        likely_ms = self._saved_ms(self.made_ms, of_rank)
        low_ms = 0.0 if self.is_cpu_shared else self._saved_ms(self.made_p95_ms, of_rank)
        return Gain(low_ms=min(low_ms, likely_ms), mid_ms=likely_ms, high_ms=likely_ms)

    def _saved_ms(self, made_ms: float, of_rank: int) -> float:
        left_ms = max(0.0, self.passes * made_ms / of_rank - self.busy_ms)
        return max(0.0, self.wait_ms - left_ms)


def loader_capacity(
    measured: Measurements, wait_ms: float, step_ms: float, processes: int
) -> LoaderCapacity | None:
    """None where what making a batch takes is not known, or the step does nothing but wait."""
    busy_ms, passes = step_ms - wait_ms, measured.micro_batches or 1.0
    made_ms, made_p95_ms = _making(measured, wait_ms / passes, step_ms / passes)
    if made_ms is None or busy_ms <= 0 or made_ms <= 0:
        return None
    return LoaderCapacity(
        made_ms=made_ms,
        made_p95_ms=made_p95_ms or made_ms,
        passes=passes,
        wait_ms=wait_ms,
        busy_ms=busy_ms,
        ranks_per_machine=measured.ranks_per_machine,
        is_cpu_shared=_share_all_cores(measured, processes),
    )


def _making(
    measured: Measurements, wait_ms: float, between_ms: float
) -> tuple[float | None, float | None]:
    """Mean and p95 of making a batch: as timed, else as the queue tells; times of one batch.

    Without loading processes a fetch is the making. A loader whose fetches mostly find nothing
    sets the pace: it delivers one batch in each `between_ms`, and each process takes so many times
    as long as there are of them.
    """
    if measured.made_ms is not None:
        return measured.made_ms, measured.made_p95_ms
    workers, empty = measured.num_workers, measured.fetch_empty_share
    if workers == 0 and measured.fetch_wait_p95_ms is not None:
        return wait_ms, measured.fetch_wait_p95_ms
    if workers and empty is not None and empty >= MOSTLY:
        return between_ms * workers / measured.ranks_per_machine, None
    return None, None


def _share_all_cores(measured: Measurements, processes: int) -> bool:
    if measured.device != "cpu" or measured.cpus_allowed is None:
        return False
    threads = measured.compute_threads or measured.cpus_allowed
    share = 1.0 if measured.making_core_share is None else measured.making_core_share
    return threads * measured.ranks_per_machine + share * processes > measured.cpus_allowed
