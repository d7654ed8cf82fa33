"""Who was largest when a run was last seen, and who had grown, by its samples. Pure."""

from dataclasses import dataclass

import pandas as pd

from diagnostics.run import Run

WINDOW_S = 60.0
"""Growth is told over so long before the last sample, or over the run where that is shorter."""
DYING_S = 2.0
"""A large process may take so long to give its memory back once it was killed."""


@dataclass(frozen=True, kw_only=True)
class LastProcess:
    """One process at the last sample that has it.

    `size_bytes` is PSS where the last sweep found it, else RSS, which counts shared pages in full
    (`is_upper_bound`). `grown_bytes` is what its RSS rose by over `over_s`; None with one sample.
    """

    pid: int
    role: str
    size_bytes: int
    is_upper_bound: bool
    grown_bytes: int | None
    over_s: float | None


@dataclass(frozen=True, kw_only=True)
class LastProcesses:
    """The fullest of a machine's last samples: `processes` by size, and what was left then."""

    host: str
    at_unix_s: float
    processes: tuple[LastProcess, ...]
    used_bytes: int | None = None
    limit_bytes: int | None = None
    shared_memory_bytes: int | None = None

    @property
    def most_grown(self) -> LastProcess | None:
        """The process whose RSS rose most; None where none rose."""
        risen = [each for each in self.processes if each.grown_bytes and each.grown_bytes > 0]
        return max(risen, key=lambda each: each.grown_bytes or 0, default=None)


def last_processes(run: Run, host: str, until_unix_s: float | None = None) -> LastProcesses | None:
    """The state at the last sample of a machine up to a time; None without a sample."""
    rows = run.tables.processes
    rows = rows[rows["host"] == host]
    if until_unix_s is not None:
        rows = rows[rows["at_unix_s"] <= until_unix_s]
    rows = rows[(rows["role"] != "sampler") & (rows["rss_bytes"] > 0)]
    if not len(rows):
        return None
    at = _fullest(rows)
    recent = rows[(rows["at_unix_s"] >= at - WINDOW_S) & (rows["at_unix_s"] <= at)]
    present = recent.loc[recent["at_unix_s"] == at, "pid"]
    found = [_process(recent[recent["pid"] == pid]) for pid in present]
    used, limit, shared = _machine(run.tables.host, host, at)
    return LastProcesses(
        host=host,
        at_unix_s=at,
        processes=tuple(sorted(found, key=lambda each: (-each.size_bytes, each.pid))),
        used_bytes=used,
        limit_bytes=limit,
        shared_memory_bytes=shared,
    )


def _fullest(rows: pd.DataFrame) -> float:
    """The sample that held most, of the last ones: a process that dies gives back as it goes."""
    last = rows[rows["at_unix_s"] >= rows["at_unix_s"].max() - DYING_S]
    sums = last.groupby("at_unix_s")["rss_bytes"].sum()
    return float(sums[sums == sums.max()].index.max())


def _process(rows: pd.DataFrame) -> LastProcess:
    rows = rows.sort_values("at_unix_s")
    first, last = rows.iloc[0], rows.iloc[-1]
    pss = last["pss_bytes"]
    over_s = float(last["at_unix_s"] - first["at_unix_s"])
    return LastProcess(
        pid=int(last["pid"]),
        role=str(last["role"]),
        size_bytes=int(last["rss_bytes"] if pd.isna(pss) else pss),
        is_upper_bound=bool(pd.isna(pss)),
        grown_bytes=int(last["rss_bytes"] - first["rss_bytes"]) if over_s else None,
        over_s=over_s or None,
    )


def _machine(
    samples: pd.DataFrame, host: str, at_unix_s: float
) -> tuple[int | None, int | None, int | None]:
    """Use and limit of the container where it has one, else of the machine; and /dev/shm."""
    rows = samples[(samples["host"] == host) & (samples["at_unix_s"] <= at_unix_s)]
    if not len(rows):
        return None, None, None
    last = rows.iloc[-1]
    shared = last["shm_used_bytes"]
    limited = rows.dropna(subset=["cgroup_limit_bytes", "cgroup_used_bytes"])
    if len(limited):
        used, limit = limited.iloc[-1][["cgroup_used_bytes", "cgroup_limit_bytes"]]
    else:
        limit = last["ram_total_bytes"]
        used = limit - last["ram_available_bytes"]
    known = [None if pd.isna(value) else int(value) for value in (used, limit, shared)]
    return known[0], known[1], known[2]
