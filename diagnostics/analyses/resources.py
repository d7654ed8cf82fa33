"""What the machine did beside the training: CPU, memory, disks, GPUs, processes by role."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from diagnostics.analyses.energy_use import EnergyUse, compute_energy_use
from diagnostics.analyses.gpu_load import GpuSummary, compute_gpu_load
from diagnostics.analyses.levels import Level, growth, known, level, rate, share_of_time
from diagnostics.analyses.sampling_quality import SamplingSummary, compute_sampling
from diagnostics.run import Run

FULL_PERCENT = 95.0
"""A core with so much use in a second had work all the time, as far as the kernel's ticks tell."""

HALF_PERCENT = 50.0
_STALLS = ("cpu_some", "memory_some", "memory_full", "io_some", "io_full")


@dataclass(frozen=True, kw_only=True)
class HostSummary:
    """One machine over the run; the rates are differences of its counters over time.

    `stall_share` maps a resource and how many tasks waited for it (`cpu_some`, `io_full`, ...) to
    the share of time in which that was so; `cgroup_stall_share` is the container's own. Empty where
    the kernel does not tell. `one_core_full_share` is the share of seconds in which some core was
    full while the machine as a whole was less than half busy: work that waits for one thread.
    `page_cache_max_bytes` is what the kernel kept of files at most, `shmem_max_bytes` all shared
    memory. `oom_kills` and `cgroup_oom_kills` are those during the run.
    """

    host: str
    num_samples: int
    duration_s: float | None
    cpu_percent: Level
    ram_percent: Level
    cpus_allowed: float | None
    ram_total_bytes: float | None
    ram_available_min_bytes: float | None
    swap_used_max_bytes: float | None
    cgroup_limit_bytes: float | None
    cgroup_used_max_bytes: float | None
    shm_total_bytes: float | None
    shm_used_max_bytes: float | None
    page_cache_max_bytes: float | None
    shmem_max_bytes: float | None
    disk_read_bytes_per_s: float | None
    disk_write_bytes_per_s: float | None
    swap_in_bytes_per_s: float | None
    swap_out_bytes_per_s: float | None
    core_count: int | None
    core_peak_percent: Level
    one_core_full_share: float | None
    stall_share: Mapping[str, float]
    cgroup_stall_share: Mapping[str, float]
    cgroup_cores_quota: float | None
    cgroup_throttled_share: float | None
    oom_kills: int | None
    cgroup_oom_kills: int | None


@dataclass(frozen=True, kw_only=True)
class ProcessSummary:
    """The processes of one role on one machine; sizes are sums over them, per sample."""

    host: str
    role: str
    max_count: int
    rss_bytes: Level
    pss_bytes: Level
    uss_bytes: Level
    pss_shm_bytes: Level
    swap_bytes: Level
    cpu_percent: Level


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything sampled. Empty tuples: not sampled; `reasons` says why where it is known."""

    hosts: tuple[HostSummary, ...] = ()
    gpus: tuple[GpuSummary, ...] = ()
    processes: tuple[ProcessSummary, ...] = ()
    gpus_absent_reason: str | None = None
    energy: EnergyUse = field(default_factory=EnergyUse)
    sampling: tuple[SamplingSummary, ...] = ()
    reasons: tuple[str, ...] = ()


def compute_resources(run: Run) -> Resources:
    """Summaries of the tables `host`, `cores`, `gpus`, `processes` and `sampler`."""
    tables = run.tables
    reasons = () if len(tables.host) else ("the machine was not sampled",)
    gpus = compute_gpu_load(run)
    return Resources(
        hosts=tuple(
            _host(str(key), part, tables.cores[tables.cores["host"] == key])
            for key, part in _groups(tables.host, "host")
        ),
        gpus=gpus,
        processes=tuple(
            _processes(str(host), str(role), part)
            for host, of_host in _groups(tables.processes, "host")
            for role, part in _groups(of_host, "role")
        ),
        gpus_absent_reason=None if len(tables.gpus) else run.info.gpus_absent_reason,
        energy=compute_energy_use(run, gpus),
        sampling=compute_sampling(run),
        reasons=reasons,
    )


def _groups(rows: pd.DataFrame, key: str) -> list[tuple[Any, pd.DataFrame]]:
    return [(value, rows[rows[key] == value]) for value in sorted(rows[key].unique())]


def _host(host: str, rows: pd.DataFrame, cores: pd.DataFrame) -> HostSummary:
    duration_s = float(rows["at_unix_s"].max() - rows["at_unix_s"].min())
    return HostSummary(
        host=host,
        num_samples=len(rows),
        duration_s=duration_s or None,
        cpu_percent=level(rows["cpu_percent"]),
        ram_percent=level(rows["ram_percent"]),
        cpus_allowed=known(rows["cpus_allowed"].max()),
        ram_total_bytes=known(rows["ram_total_bytes"].max()),
        ram_available_min_bytes=known(rows["ram_available_bytes"].min()),
        swap_used_max_bytes=known(rows["swap_used_bytes"].max()),
        cgroup_limit_bytes=known(rows["cgroup_limit_bytes"].min()),
        cgroup_used_max_bytes=known(rows["cgroup_used_bytes"].max()),
        shm_total_bytes=known(rows["shm_total_bytes"].max()),
        shm_used_max_bytes=known(rows["shm_used_bytes"].max()),
        page_cache_max_bytes=known(rows["page_cache_bytes"].max()),
        shmem_max_bytes=known(rows["shmem_bytes"].max()),
        disk_read_bytes_per_s=rate(rows, "disk_read_bytes"),
        disk_write_bytes_per_s=rate(rows, "disk_write_bytes"),
        swap_in_bytes_per_s=rate(rows, "swap_in_bytes"),
        swap_out_bytes_per_s=rate(rows, "swap_out_bytes"),
        stall_share=_stall_shares(rows, "pressure"),
        cgroup_stall_share=_stall_shares(rows, "cgroup_pressure"),
        cgroup_cores_quota=known(rows["cgroup_cores_quota"].min()),
        cgroup_throttled_share=share_of_time(rows, "cgroup_cpu_throttled_us"),
        oom_kills=_count(rows, "oom_kills"),
        cgroup_oom_kills=_count(rows, "cgroup_oom_kills"),
        **_cores(cores),
    )


def _cores(cores: pd.DataFrame) -> dict[str, Any]:
    """The fullest core of each second, whichever it was: threads move from core to core."""
    by_second = cores.groupby("at_unix_s")["cpu_percent"]
    fullest, mean = by_second.max(), by_second.mean()
    is_one = (fullest >= FULL_PERCENT) & (mean < HALF_PERCENT)
    return {
        "core_count": int(cores["core"].nunique()) if len(cores) else None,
        "core_peak_percent": level(fullest),
        "one_core_full_share": float(is_one.mean()) if len(is_one) else None,
    }


def _stall_shares(rows: pd.DataFrame, prefix: str) -> dict[str, float]:
    shares = {name: share_of_time(rows, f"{prefix}_{name}_us") for name in _STALLS}
    return {name: share for name, share in shares.items() if share is not None}


def _count(rows: pd.DataFrame, column: str) -> int | None:
    grown = growth(rows, column)
    return None if grown is None else int(grown[0])


def _processes(host: str, role: str, rows: pd.DataFrame) -> ProcessSummary:
    samples = rows.groupby("at_unix_s")
    return ProcessSummary(
        host=host,
        role=role,
        max_count=int(samples["pid"].nunique().max()),
        rss_bytes=level(sum_of_complete(rows, "rss_bytes")),
        pss_bytes=level(sum_of_complete(rows, "pss_bytes")),
        uss_bytes=level(sum_of_complete(rows, "uss_bytes")),
        pss_shm_bytes=level(sum_of_complete(rows, "pss_shm_bytes")),
        swap_bytes=level(sum_of_complete(rows, "swap_bytes")),
        cpu_percent=level(sum_of_complete(rows, "cpu_percent")),
    )


def sum_of_complete(rows: pd.DataFrame, column: str) -> "pd.Series[float]":
    """The sum of the column over the processes of each sample, by its time.

    Samples in which any process misses the value are left out: a part is not the whole.
    """
    is_complete = rows.groupby("at_unix_s")[column].transform("count") == rows.groupby("at_unix_s")[
        column
    ].transform("size")
    return rows[is_complete].groupby("at_unix_s")[column].sum()
