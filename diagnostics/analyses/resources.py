"""What the machine did beside the training: CPU, memory, disks, GPUs, processes by role."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import quantile
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class Level:
    """A sampled quantity; None where no sample held it. Its unit stands in the field's name."""

    count: int
    mean: float | None
    median: float | None
    p95: float | None
    peak: float | None


@dataclass(frozen=True, kw_only=True)
class HostSummary:
    """One machine over the run; the rates are differences of its counters over time."""

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
    disk_read_bytes_per_s: float | None
    disk_write_bytes_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class GpuSummary:
    """One GPU of one machine over the run."""

    host: str
    index: int
    name: str | None
    num_samples: int
    util_percent: Level
    memory_used_bytes: Level
    memory_total_bytes: float | None
    power_w: Level
    power_limit_w: float | None
    temperature_c: Level
    sm_clock_mhz: Level
    throttle_reasons: int | None


@dataclass(frozen=True, kw_only=True)
class ProcessSummary:
    """The processes of one role on one machine; sizes are sums over them, per sample."""

    host: str
    role: str
    max_count: int
    rss_bytes: Level
    pss_bytes: Level
    cpu_percent: Level


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything sampled. Empty tuples: not sampled; `reasons` says why where it is known."""

    hosts: tuple[HostSummary, ...] = ()
    gpus: tuple[GpuSummary, ...] = ()
    processes: tuple[ProcessSummary, ...] = ()
    gpus_absent_reason: str | None = None
    reasons: tuple[str, ...] = ()


def compute_resources(run: Run) -> Resources:
    """Summaries of the tables `host`, `gpus` and `processes`."""
    tables = run.tables
    reasons = () if len(tables.host) else ("the machine was not sampled",)
    return Resources(
        hosts=tuple(_host(str(key), part) for key, part in _groups(tables.host, "host")),
        gpus=tuple(
            _gpu(str(host), index, part)
            for host, of_host in _groups(tables.gpus, "host")
            for index, part in _groups(of_host, "index")
        ),
        processes=tuple(
            _processes(str(host), str(role), part)
            for host, of_host in _groups(tables.processes, "host")
            for role, part in _groups(of_host, "role")
        ),
        gpus_absent_reason=None if len(tables.gpus) else run.info.gpus_absent_reason,
        reasons=reasons,
    )


def _groups(rows: pd.DataFrame, key: str) -> list[tuple[Any, pd.DataFrame]]:
    return [(value, rows[rows[key] == value]) for value in sorted(rows[key].unique())]


def _host(host: str, rows: pd.DataFrame) -> HostSummary:
    duration_s = float(rows["at_unix_s"].max() - rows["at_unix_s"].min())
    return HostSummary(
        host=host,
        num_samples=len(rows),
        duration_s=duration_s or None,
        cpu_percent=_level(rows["cpu_percent"]),
        ram_percent=_level(rows["ram_percent"]),
        cpus_allowed=_known(rows["cpus_allowed"].max()),
        ram_total_bytes=_known(rows["ram_total_bytes"].max()),
        ram_available_min_bytes=_known(rows["ram_available_bytes"].min()),
        swap_used_max_bytes=_known(rows["swap_used_bytes"].max()),
        cgroup_limit_bytes=_known(rows["cgroup_limit_bytes"].min()),
        cgroup_used_max_bytes=_known(rows["cgroup_used_bytes"].max()),
        shm_total_bytes=_known(rows["shm_total_bytes"].max()),
        shm_used_max_bytes=_known(rows["shm_used_bytes"].max()),
        disk_read_bytes_per_s=_rate(rows, "disk_read_bytes"),
        disk_write_bytes_per_s=_rate(rows, "disk_write_bytes"),
    )


def _gpu(host: str, index: int, rows: pd.DataFrame) -> GpuSummary:
    reasons = rows["throttle_reasons"].dropna().astype("int64")
    names = rows["name"].dropna()
    return GpuSummary(
        host=host,
        index=int(index),
        name=str(names.iloc[0]) if len(names) else None,
        num_samples=len(rows),
        util_percent=_level(rows["util_percent"]),
        memory_used_bytes=_level(rows["memory_used_bytes"]),
        memory_total_bytes=_known(rows["memory_total_bytes"].max()),
        power_w=_level(rows["power_w"]),
        power_limit_w=_known(rows["power_limit_w"].max()),
        temperature_c=_level(rows["temperature_c"]),
        sm_clock_mhz=_level(rows["sm_clock_mhz"]),
        throttle_reasons=int(np.bitwise_or.reduce(reasons.to_numpy())) if len(reasons) else None,
    )


def _processes(host: str, role: str, rows: pd.DataFrame) -> ProcessSummary:
    samples = rows.groupby("at_unix_s")
    return ProcessSummary(
        host=host,
        role=role,
        max_count=int(samples["pid"].nunique().max()),
        rss_bytes=_level(sum_of_complete(rows, "rss_bytes")),
        pss_bytes=_level(sum_of_complete(rows, "pss_bytes")),
        cpu_percent=_level(sum_of_complete(rows, "cpu_percent")),
    )


def sum_of_complete(rows: pd.DataFrame, column: str) -> "pd.Series[float]":
    """The sum of the column over the processes of each sample, by its time.

    Samples in which any process misses the value are left out: a part is not the whole.
    """
    is_complete = rows.groupby("at_unix_s")[column].transform("count") == rows.groupby("at_unix_s")[
        column
    ].transform("size")
    return rows[is_complete].groupby("at_unix_s")[column].sum()


def _level(values: "pd.Series[float]") -> Level:
    known = values.dropna().to_numpy(dtype="float64")
    if not len(known):
        return Level(count=0, mean=None, median=None, p95=None, peak=None)
    return Level(
        count=len(known),
        mean=float(known.mean()),
        median=quantile(known, 0.5),
        p95=quantile(known, 0.95),
        peak=float(known.max()),
    )


def _rate(rows: pd.DataFrame, column: str) -> float | None:
    """Growth of the counter over time; a counter that falls has begun anew."""
    known = rows.dropna(subset=[column]).sort_values("at_unix_s")
    time_s = float(known["at_unix_s"].max() - known["at_unix_s"].min()) if len(known) else 0.0
    return float(known[column].diff().clip(lower=0.0).sum()) / time_s if time_s > 0 else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
