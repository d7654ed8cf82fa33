"""From the samples of a machine to what rules need of it. Pure."""

from collections.abc import Iterable
from typing import Any

from diagnostics.analyses.core_use import CoreUse
from diagnostics.analyses.resources import HostSummary
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.run import FACTS, Run

MACHINE_FIELDS = (
    "foreign_cores",
    "making_core_share",
    "host_cpu_p95_percent",
    "cpu_stall_share",
    "disk_stall_share",
    "one_core_full_share",
    "quota_throttled_share",
    "swap_in_bytes_per_s",
    "shared_memory_used_bytes",
    "num_kernel_kills",
)
"""Fields that are read from the resource samples."""


def machine_fields(run: Run, analysis: RunAnalysis) -> dict[str, Any]:
    """Of each quantity the worst machine."""
    hosts = analysis.resources.hosts
    shared = max(hosts, key=_shared_memory_share, default=None)
    threads = run.info.device.get("threads")
    return {
        "is_machine_sampled": bool(hosts) if run.evidence == FACTS else None,
        "compute_threads": threads if isinstance(threads, int) else None,
        "host_cpu_p95_percent": _largest(host.cpu_percent.p95 for host in hosts),
        "cpu_stall_share": _largest(_stall(host, "cpu_some") for host in hosts),
        "disk_stall_share": _largest(_stall(host, "io_full") for host in hosts),
        "one_core_full_share": _largest(host.one_core_full_share for host in hosts),
        "cores_quota": min(
            (h.cgroup_cores_quota for h in hosts if h.cgroup_cores_quota), default=None
        ),
        "quota_throttled_share": _largest(host.cgroup_throttled_share for host in hosts),
        "swap_in_bytes_per_s": _largest(host.swap_in_bytes_per_s for host in hosts),
        "swap_used_bytes": _whole(_largest(host.swap_used_max_bytes for host in hosts)),
        "shared_memory_used_bytes": _whole(shared.shm_used_max_bytes) if shared else None,
        "shared_memory_total_bytes": _whole(shared.shm_total_bytes) if shared else None,
        "num_kernel_kills": _whole(_largest(map(_kernel_kills, hosts))),
        **_cores(analysis.core_use),
    }


def _cores(uses: Iterable[CoreUse]) -> dict[str, Any]:
    crowded = max(uses, key=lambda use: use.foreign_share, default=None)
    if crowded is None:
        return {}
    return {
        "machine_cores": crowded.cores,
        "busy_cores": crowded.busy_cores,
        "own_cores": crowded.own_cores,
        "foreign_cores": crowded.foreign_cores,
        "loader_cores": crowded.loader_cores,
    }


def _stall(host: HostSummary, name: str) -> float | None:
    """Of the own container where the kernel tells, else of the machine."""
    return host.cgroup_stall_share.get(name, host.stall_share.get(name))


def _kernel_kills(host: HostSummary) -> int | None:
    return host.oom_kills if host.cgroup_oom_kills is None else host.cgroup_oom_kills


def _shared_memory_share(host: HostSummary) -> float:
    if host.shm_used_max_bytes is None or not host.shm_total_bytes:
        return -1.0
    return host.shm_used_max_bytes / host.shm_total_bytes


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
