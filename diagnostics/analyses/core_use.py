"""Who keeps a machine's cores busy: this run, or others beside it."""

from dataclasses import dataclass

import pandas as pd

from diagnostics.analyses.levels import known
from diagnostics.analyses.resources import sum_of_complete
from diagnostics.run import Run

LEAST_SAMPLES = 5
"""Fewer samples say nothing about a run."""


@dataclass(frozen=True, kw_only=True)
class CoreUse:
    """Means over the samples of one machine, in cores.

    `foreign_cores` is what neither the trainer nor its loading processes used; never below 0, for
    the two figures are read some milliseconds apart. `loader_cores` is the loading processes' part
    of `own_cores`, None where none was sampled.
    """

    host: str
    num_samples: int
    cores: int
    busy_cores: float
    own_cores: float
    foreign_cores: float
    loader_cores: float | None

    @property
    def busy_share(self) -> float:
        """Of all cores."""
        return self.busy_cores / self.cores

    @property
    def foreign_share(self) -> float:
        """Of all cores."""
        return self.foreign_cores / self.cores


def own_cores(processes: pd.DataFrame) -> float | None:
    """The cores that rows of the table `processes` kept busy, on all machines; None: too few."""
    total, is_known = 0.0, False
    for _, rows in processes.groupby("host"):
        samples = sum_of_complete(rows, "cpu_percent")
        if len(samples) < LEAST_SAMPLES:
            return None
        total, is_known = total + float(samples.mean()) / 100, True
    return total if is_known else None


def compute_core_use(run: Run) -> tuple[CoreUse, ...]:
    """Each machine whose cores and whose processes were sampled."""
    tables = run.tables
    found = []
    for host in sorted(tables.host["host"].unique()):
        use = _of_host(
            str(host),
            tables.host[tables.host["host"] == host],
            tables.processes[tables.processes["host"] == host],
            tables.cores[tables.cores["host"] == host],
        )
        found += [] if use is None else [use]
    return tuple(found)


def _of_host(
    host: str, samples: pd.DataFrame, processes: pd.DataFrame, cores: pd.DataFrame
) -> CoreUse | None:
    count = int(cores["core"].nunique())
    own = sum_of_complete(processes, "cpu_percent") / 100
    loaders = sum_of_complete(processes[processes["role"] == "worker"], "cpu_percent") / 100
    busy = samples.groupby("at_unix_s")["cpu_percent"].mean().dropna() / 100 * count
    both = pd.concat({"busy": busy, "own": own}, axis=1).dropna()
    if not count or len(both) < LEAST_SAMPLES:
        return None
    busy_cores, own_cores = known(both["busy"].mean()), known(both["own"].mean())
    if busy_cores is None or own_cores is None:
        return None
    return CoreUse(
        host=host,
        num_samples=len(both),
        cores=count,
        busy_cores=busy_cores,
        own_cores=own_cores,
        foreign_cores=max(0.0, busy_cores - own_cores),
        loader_cores=known(loaders.mean()),
    )
