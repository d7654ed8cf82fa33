"""Says early that memory is running out, and who takes it; needs no PyTorch.

The kernel's OOM killer ends a process without a word. What is left, of the machine or of its
container, is looked at once a second; once little is left and the trend of the last half minute
reaches its end soon, that is a warning. Growth that is running down by itself, as when a run
warms up or fills a cache of known size, is none.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from vrtspike.profiling.machine_records import HostRecord, ProcessRecord

MEMORY_RUNNING_OUT = "memory_running_out"
WINDOW_S = 30.0
LEAST_SEEN_S = 10.0
"""A trend needs so much time, except when hardly anything is left."""
WATCHED_SHARE = 0.25
"""Of the memory; while more is left there is time to see how the growth goes on."""
NEARLY_NONE_SHARE = 0.05
SOON_S = 300.0
"""A trend that lasts longer than that is left to the documented line above 90 %."""
_FULL_SHARE = 0.98
"""Growth that runs down below this use of the memory ends by itself."""
_LEAST_GAP_S, _MOST_GAP_S, _STEADY_GAP_S = 10.0, 60.0, 600.0
MAX_WARNINGS = 50
MAX_NAMED = 3
_SURE_DEVIATIONS = 4.0
_NAMED_SHARE = 0.05
"""Of the growth: less is not worth a name."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What is left of a memory. `source` names the memory, as in "the machine"."""

    free_bytes: int
    limit_bytes: int
    source: str

    @property
    def free_share(self) -> float:
        """0..1."""
        return self.free_bytes / self.limit_bytes if self.limit_bytes > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Grower:
    """What takes the memory; `pid` is None for what is no process of the run."""

    what: str
    pid: int | None
    bytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class MemoryWarning:
    """`bytes_per_s` and `seconds_left` are None where nothing grows and hardly anything is left."""

    room: Room
    bytes_per_s: float | None
    seconds_left: float | None
    growers: tuple[Grower, ...] = ()

    def values(self) -> dict[str, float | int | str | None]:
        """The warning as the flat values of an event."""
        found: dict[str, float | int | str | None] = {
            "free_bytes": self.room.free_bytes,
            "limit_bytes": self.room.limit_bytes,
            "source": self.room.source,
        }
        if self.bytes_per_s is not None and self.seconds_left is not None:
            found["bytes_per_s"] = round(self.bytes_per_s)
            found["seconds_left"] = round(self.seconds_left, 1)
        for place, grower in enumerate(self.growers, start=1):
            found[f"grower{place}"] = grower.what
            found[f"grower{place}_pid"] = grower.pid
            found[f"grower{place}_bytes_per_s"] = round(grower.bytes_per_s)
        return found


@dataclass(frozen=True)
class _Look:
    at_s: float
    room: Room
    shm_bytes: int
    processes: Mapping[int, tuple[str, int]]
    """Role and own memory by process id."""


def tightest_room(host: HostRecord) -> Room:
    """Of the machine and its container, the one with the smaller share left."""
    rooms = [
        Room(
            free_bytes=host.ram_available_bytes,
            limit_bytes=host.ram_total_bytes,
            source="the machine",
        )
    ]
    if host.cgroup_limit_bytes and host.cgroup_used_bytes is not None:
        version = f" v{host.cgroup_version}" if host.cgroup_version else ""
        rooms.append(
            Room(
                free_bytes=max(0, host.cgroup_limit_bytes - host.cgroup_used_bytes),
                limit_bytes=host.cgroup_limit_bytes,
                source=f"its container (cgroup{version})",
            )
        )
    return min(rooms, key=lambda room: room.free_share)


class MemoryAlarm:
    """Judges samples as they come, in time order.

    Args:
        cache_bytes: What a cache in shared memory may grow to: its growth up to there is wanted,
            and what it still lacks is not free.
    """

    def __init__(self, cache_bytes: int = 0) -> None:
        self._cache_bytes = cache_bytes
        self._shm_before: int | None = None
        self._looks: deque[_Look] = deque()
        self._silent_until_s = {True: float("-inf"), False: float("-inf")}
        self._said = 0

    def judge(
        self, at_s: float, host: HostRecord, processes: Iterable[ProcessRecord]
    ) -> MemoryWarning | None:
        """The warning that this sample gives cause to, if it does.

        Args:
            at_s: A steady clock.
            host: Only samples with the container's figures are looked at.
            processes: Those of the run.
        """
        if host.cpus_allowed is None:  # read between two full samples
            return None
        self._keep(_Look(at_s, tightest_room(host), _shm(host), _own(processes)))
        warning = self._warning() if self._said < MAX_WARNINGS else None
        if warning is None or at_s < self._silent_until_s[warning.seconds_left is not None]:
            return None
        self._said += 1
        if warning.seconds_left is not None:  # said again before it is too late
            gap_s = min(max(warning.seconds_left / 2, _LEAST_GAP_S), _MOST_GAP_S)
            self._silent_until_s[True] = at_s + gap_s
        self._silent_until_s[False] = at_s + _STEADY_GAP_S
        return warning

    def _keep(self, look: _Look) -> None:
        if self._shm_before is None:
            self._shm_before = look.shm_bytes
        if self._looks and self._looks[-1].room.source != look.room.source:
            self._looks.clear()  # what is left of another memory is no trend of this one
        self._looks.append(look)
        while look.at_s - self._looks[0].at_s > WINDOW_S:
            self._looks.popleft()

    def _warning(self) -> MemoryWarning | None:
        room = self._looks[-1].room
        if room.free_share > WATCHED_SHARE:
            return None
        seen_s = self._looks[-1].at_s - self._looks[0].at_s
        scarce = room.free_share <= NEARLY_NONE_SHARE
        if seen_s < LEAST_SEEN_S:
            return None if not scarce or len(self._looks) < 3 else self._said_as(room, None, None)
        lacks = self._cache_lacks()
        taken = [-(look.room.free_bytes + (look.shm_bytes if lacks else 0)) for look in self._looks]
        rate = slope(self._times(), taken)
        left = max(0, room.free_bytes - lacks)
        sure = rate > 0 and rises_surely(taken)
        if not sure or self._runs_down(taken, left):
            return self._said_as(room, None, None) if scarce else None
        seconds = left / rate
        if seconds > SOON_S:
            return self._said_as(room, None, None) if scarce else None
        return self._said_as(room, rate, seconds)

    def _said_as(self, room: Room, rate: float | None, seconds: float | None) -> MemoryWarning:
        growers = () if rate is None else growing(self._looks, rate)
        return MemoryWarning(room=room, bytes_per_s=rate, seconds_left=seconds, growers=growers)

    def _cache_lacks(self) -> int:
        """What the cache may still take of the memory that looks free."""
        grown = self._looks[-1].shm_bytes - (self._shm_before or 0)
        return max(0, self._cache_bytes - grown) if self._cache_bytes else 0

    def _times(self) -> list[float]:
        return [look.at_s for look in self._looks]

    def _runs_down(self, taken: Sequence[int], left: float) -> bool:
        """Whether the growth, falling on as it has fallen, ends before the memory does.

        Where each half of the window brings r times what the half before brought, the rest still
        to come is that of a geometric series.
        """
        times, half = self._times(), len(taken) // 2
        early, late = slope(times[:half], taken[:half]), slope(times[half:], taken[half:])
        if late <= 0:
            return True
        if early <= 0 or late >= 0.7 * early:  # as fast as before
            return False
        ratio = late / early
        to_come = late * (times[-1] - times[half]) * ratio / (1 - ratio)
        limit = self._looks[-1].room.limit_bytes
        return to_come < left - (1 - _FULL_SHARE) * limit


def growing(looks: Sequence[_Look], rate: float) -> tuple[Grower, ...]:
    """Who takes the memory, the fastest first; processes that were there all the time alone.

    Args:
        looks: The window, in time order.
        rate: What all take together, in bytes/s.
    """
    times = [look.at_s for look in looks]
    found = []
    for pid, (role, _) in looks[-1].processes.items():
        own = [(look.at_s, look.processes[pid][1]) for look in looks if pid in look.processes]
        speed = slope([at_s for at_s, _ in own], [size for _, size in own])
        found.append(Grower(what=f"{role} process", pid=pid, bytes_per_s=speed))
    in_shm = slope(times, [look.shm_bytes for look in looks])
    found.append(Grower(what="shared memory", pid=None, bytes_per_s=in_shm))
    named = [each for each in found if each.bytes_per_s >= _NAMED_SHARE * rate]
    named.sort(key=lambda each: -each.bytes_per_s)
    rest = rate - sum(each.bytes_per_s for each in named)
    others = Grower(what="nothing of this run", pid=None, bytes_per_s=rest)
    return (*named[:MAX_NAMED], others) if rest > 0.5 * rate else tuple(named[:MAX_NAMED])


def rises_surely(values: Sequence[float]) -> bool:
    """Whether noise alone would hardly rise so often (Mann-Kendall, 4 standard deviations)."""
    count = len(values)
    rises = sum((late > early) - (late < early) for early, late in combinations(values, 2))
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return rises >= _SURE_DEVIATIONS * deviation


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The median slope of all pairs (Theil-Sen): one jump or peak does not move it; 0 for few."""
    pairs = combinations(zip(times, values, strict=True), 2)
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in pairs if t > s]
    return median(slopes) if len(slopes) >= 3 else 0.0


def _shm(host: HostRecord) -> int:
    return host.shmem_bytes or host.shm_used_bytes or 0


def _own(processes: Iterable[ProcessRecord]) -> dict[int, tuple[str, int]]:
    return {
        each.pid: (_ROLES.get(each.role, each.role), each.rss_bytes - (each.shared_bytes or 0))
        for each in processes
    }


_ROLES = {"worker": "loader", "main": "training", "other": "further"}
