"""How much memory and how many cores a program may really use here, and which limit says so."""

from collections.abc import Iterator
from dataclasses import dataclass

from diagnostics.language import say
from diagnostics.machine import HostState

OF_MACHINE = "the machine's memory"
NEARLY_FULL_SHARE = 0.8
"""From there on a forecast calls memory tight."""


@dataclass(frozen=True)
class Room:
    """A limit of memory, and what of it is still free: of the machine, or of a container."""

    limit_bytes: int
    free_bytes: int
    source: str

    @property
    def used_bytes(self) -> int:
        """What counts against the limit now."""
        return self.limit_bytes - self.free_bytes

    @property
    def used_share(self) -> float:
        """Of the limit."""
        return self.used_bytes / self.limit_bytes


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The limits that count: the smallest of what the machine has and what its cgroup allows.

    `available_bytes` is what may still be taken before any limit. `rooms` hold the machine's use
    against the machine's memory, and the cgroup's use against the cgroup's limit. A value is None
    where nothing that decides it could be read.
    """

    memory_limit_bytes: int | None
    memory_limit_source: str
    available_bytes: int | None
    ram_total_bytes: int | None
    shm_total_bytes: int | None
    shm_free_bytes: int | None
    cores: int | None
    cores_source: str
    rooms: tuple[Room, ...] = ()

    def tightest(self, need_bytes: int = 0) -> Room | None:
        """The room that counts once so much more is taken; None where none is known.

        It is the fullest of those that are nearly full then, else the one with the least left.
        """
        return max(self.rooms, key=lambda room: _tightness(room, need_bytes), default=None)

    @property
    def used_share(self) -> float | None:
        """Share of the tightest room in use, by everyone it counts."""
        room = self.tightest()
        return None if room is None else room.used_share


def _tightness(room: Room, need_bytes: int) -> tuple[float, int]:
    share = (room.used_bytes + need_bytes) / room.limit_bytes
    return (share if share > NEARLY_FULL_SHARE else 0.0), -room.free_bytes


def capacity(host: HostState) -> Capacity:
    """The limits of a host."""
    rooms = tuple(_rooms(host))
    limit, source = _memory_limit(host)
    cores, cores_source = _cores(host)
    shm_free = None
    if host.shm_total_bytes is not None and host.shm_used_bytes is not None:
        shm_free = host.shm_total_bytes - host.shm_used_bytes
    return Capacity(
        memory_limit_bytes=limit,
        memory_limit_source=source,
        available_bytes=min((room.free_bytes for room in rooms), default=None),
        ram_total_bytes=host.ram_total_bytes,
        shm_total_bytes=host.shm_total_bytes,
        shm_free_bytes=shm_free,
        cores=cores,
        cores_source=cores_source,
        rooms=rooms,
    )


def _memory_limit(host: HostState) -> tuple[int | None, str]:
    total, limit = host.ram_total_bytes, host.cgroup_limit_bytes
    if limit is not None and (total is None or limit < total):
        return limit, _of_cgroup(host)
    return total, OF_MACHINE


def _of_cgroup(host: HostState) -> str:
    return say("cgroup v{cgroup_version}", cgroup_version=host.cgroup_version)


def _rooms(host: HostState) -> Iterator[Room]:
    """MemAvailable of the machine's memory; what the cgroup leaves of its own limit."""
    if host.ram_total_bytes and host.ram_available_bytes is not None:
        free = min(host.ram_available_bytes, host.ram_total_bytes)
        yield Room(host.ram_total_bytes, free, OF_MACHINE)
    if host.cgroup_limit_bytes and host.cgroup_used_bytes is not None:
        free = max(0, host.cgroup_limit_bytes - host.cgroup_used_bytes)
        yield Room(host.cgroup_limit_bytes, free, _of_cgroup(host))


def _cores(host: HostState) -> tuple[int | None, str]:
    """Whole cores, at least 1; a quota of 2.5 cores lets 2 processes run without waiting."""
    known = [
        (host.cores_online, "all cores of the machine"),
        (host.cores_affinity, "processor affinity"),
        (None if host.cores_quota is None else max(1, int(host.cores_quota)), "cgroup CPU quota"),
    ]
    bounds = [(count, source) for count, source in known if count is not None]
    return min(bounds, key=lambda bound: bound[0], default=(None, "not known"))
