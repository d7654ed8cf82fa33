"""How much memory and how many cores a program may really use here, and which limit says so."""

from dataclasses import dataclass

from diagnostics.language import say
from diagnostics.machine import HostState


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The limits that count: the smallest of what the machine has and what its cgroup allows.

    `available_bytes` is what may still be taken before the limit. A value is None where nothing
    that decides it could be read.
    """

    memory_limit_bytes: int | None
    memory_limit_source: str
    available_bytes: int | None
    ram_total_bytes: int | None
    shm_total_bytes: int | None
    shm_free_bytes: int | None
    cores: int | None
    cores_source: str

    @property
    def used_share(self) -> float | None:
        """Share of the limit in use, by everyone it counts."""
        if not self.memory_limit_bytes or self.available_bytes is None:
            return None
        return 1.0 - self.available_bytes / self.memory_limit_bytes


def capacity(host: HostState) -> Capacity:
    """The limits of a host."""
    limit, source = _memory_limit(host)
    cores, cores_source = _cores(host)
    shm_free = None
    if host.shm_total_bytes is not None and host.shm_used_bytes is not None:
        shm_free = host.shm_total_bytes - host.shm_used_bytes
    return Capacity(
        memory_limit_bytes=limit,
        memory_limit_source=source,
        available_bytes=_available(host),
        ram_total_bytes=host.ram_total_bytes,
        shm_total_bytes=host.shm_total_bytes,
        shm_free_bytes=shm_free,
        cores=cores,
        cores_source=cores_source,
    )


def _memory_limit(host: HostState) -> tuple[int | None, str]:
    total, limit = host.ram_total_bytes, host.cgroup_limit_bytes
    if limit is not None and (total is None or limit < total):
        return limit, say("cgroup v{cgroup_version}", cgroup_version=host.cgroup_version)
    return total, "the machine's memory"


def _available(host: HostState) -> int | None:
    """MemAvailable, or what the cgroup leaves if that is less."""
    bounds = [] if host.ram_available_bytes is None else [host.ram_available_bytes]
    if host.cgroup_limit_bytes is not None and host.cgroup_used_bytes is not None:
        bounds.append(max(0, host.cgroup_limit_bytes - host.cgroup_used_bytes))
    return min(bounds, default=None)


def _cores(host: HostState) -> tuple[int | None, str]:
    """Whole cores, at least 1; a quota of 2.5 cores lets 2 processes run without waiting."""
    known = [
        (host.cores_online, "all cores of the machine"),
        (host.cores_affinity, "processor affinity"),
        (None if host.cores_quota is None else max(1, int(host.cores_quota)), "cgroup CPU quota"),
    ]
    bounds = [(count, source) for count, source in known if count is not None]
    return min(bounds, key=lambda bound: bound[0], default=(None, "not known"))
