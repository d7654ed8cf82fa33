"""How many loading processes a step needs, from what making a batch takes and what a step computes.

A step that does not wait takes `passes` batches in the time it computes. A process makes one in
`made_ms`, so that `ceil(made_ms / time between two fetches)` of them keep up.
"""

import math
from dataclasses import dataclass

from diagnostics.rules.finding import Gain
from diagnostics.rules.measurements import Measurements

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
    """None where the making of batches was not timed, or the step does nothing but wait."""
    busy_ms = step_ms - wait_ms
    if measured.made_ms is None or busy_ms <= 0 or measured.made_ms <= 0:
        return None
    return LoaderCapacity(
        made_ms=measured.made_ms,
        made_p95_ms=measured.made_p95_ms or measured.made_ms,
        passes=measured.micro_batches or 1.0,
        wait_ms=wait_ms,
        busy_ms=busy_ms,
        ranks_per_machine=measured.ranks_per_machine,
        is_cpu_shared=_share_all_cores(measured, processes),
    )


def _share_all_cores(measured: Measurements, processes: int) -> bool:
    if measured.device != "cpu" or measured.cpus_allowed is None:
        return False
    threads = measured.compute_threads or measured.cpus_allowed
    return threads * measured.ranks_per_machine + processes > measured.cpus_allowed
