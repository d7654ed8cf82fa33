"""What grows steadily while a training is watched: a process, /dev/shm, memory on a GPU. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import GrowthTrend, growth_trend
from diagnostics.analyses.host_growth import LEAST_RISE_BYTES
from diagnostics.analyses.machine_jobs import Role
from diagnostics.analyses.shm_filler import Candidate, find_filler
from diagnostics.watched import Moment, WatchedGpu, WatchedProcess

_TOGETHER = 1.25
"""So much more must all loading processes grow than those that grow alone, to be told as one."""

Key = tuple[int, int]
"""Number and start of a process."""


@dataclass(frozen=True, kw_only=True)
class Growing:
    """Memory that grows steadily while it is watched.

    The trend is in bytes over seconds. `since_unix_s` is when the growth began, as far as it was
    watched; `rise_bytes` is the growth since then, while the trend's own leaves warm-up out. The
    process of /dev/shm is the one that fills it, None if none is seen to; that of a GPU (`index`)
    the one that holds it, None where the driver does not tell. `seconds_left` is the time until a
    GPU is full. Of several processes, `count` says how many, and `pids` which,
    the one that grew most first.
    """

    kind: Literal["process", "processes", "/dev/shm", "GPU"]
    trend: GrowthTrend
    since_unix_s: float
    rise_bytes: float
    pid: int | None = None
    role: Role | None = None
    rank: int | None = None
    count: int = 1
    index: int | None = None
    seconds_left: float | None = None
    pids: tuple[int, ...] = ()


class Watched:
    """Moments as courses over time, each NaN where it is not known."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        self.moments = moments
        self.at_s = np.array([each.at_s for each in moments])
        self.unix_s = np.array([each.unix_s for each in moments])
        self.tables = [{(p.pid, p.started): p for p in moment.processes} for moment in moments]

    def values(self, get: Callable[[Moment], float | None]) -> Floats:
        """A figure of each moment."""
        return known(get(each) for each in self.moments)

    def of(self, process: WatchedProcess, get: Callable[[WatchedProcess], float | None]) -> Floats:
        """A figure of a process at each moment."""
        key = (process.pid, process.started)
        held = (table.get(key) for table in self.tables)
        return known(None if each is None else get(each) for each in held)

    def own(self, process: WatchedProcess) -> Floats:
        """A process's own memory."""
        return self.of(process, _own_bytes)

    @property
    def living(self) -> tuple[WatchedProcess, ...]:
        """Those that live at the last moment."""
        return tuple(self.tables[-1].values())

    @cached_property
    def seen(self) -> dict[int, WatchedProcess]:
        """All that were seen, by number, the latest of each."""
        return {process.pid: process for table in self.tables for process in table.values()}


def known(values: Iterable[float | None]) -> Floats:
    """The values, NaN for None."""
    return np.array([np.nan if each is None else each for each in values], dtype="float64")


def _own_bytes(process: WatchedProcess) -> int | None:
    return process.own_bytes


def find_growth(watched: Watched) -> Iterator[Growing]:
    """Processes whose own memory grows, the fastest first; /dev/shm; memory on GPUs.

    Loading processes are judged together, too, since a leak in each sample is shared out among
    them: as a whole they are told where that grows more than those that grow alone.
    """
    found = [grown for each in watched.living if (grown := _process(watched, each)) is not None]
    found = _or_together(found, _loaders(watched))
    yield from sorted(found, key=lambda each: -each.trend.slope)
    yield from _shared(watched)
    yield from _on_gpus(watched)


@dataclass(frozen=True)
class _Leak:
    trend: GrowthTrend
    since_unix_s: float
    rise_bytes: float


def _leak(watched: Watched, values: Floats) -> _Leak | None:
    """The trend, when it began, and what it makes since then."""
    trend = growth_trend(watched.at_s, values)
    if trend is None or not trend.grows or trend.rise < LEAST_RISE_BYTES:
        return None
    since = began(watched.unix_s, values, trend)
    last = float(watched.unix_s[~np.isnan(values)][-1])
    return _Leak(trend, since, trend.slope * (last - since))


def began(unix_s: Floats, values: Floats, trend: GrowthTrend) -> float:
    """When the growth began: where a line of its slope through the end meets the first level.

    No earlier than what was seen.
    """
    is_known = ~np.isnan(values)
    times, sizes = unix_s[is_known], values[is_known]
    level, last = float(sizes[: max(1, len(sizes) // 10)].min()), float(sizes[-1])
    guess = times[-1] - max(0.0, last - level) / trend.slope
    return float(max(times[0], min(guess, times[-1])))


def _process(watched: Watched, process: WatchedProcess) -> Growing | None:
    leak = _leak(watched, watched.own(process))
    if leak is None:
        return None
    return Growing(
        kind="process",
        trend=leak.trend,
        since_unix_s=leak.since_unix_s,
        rise_bytes=leak.rise_bytes,
        pid=process.pid,
        role=process.role,
        rank=process.rank,
    )


def _loaders(watched: Watched) -> Growing | None:
    """Loading processes that were there all the time, together."""
    courses = [(each.pid, watched.own(each)) for each in watched.living if each.role == "worker"]
    whole = [(pid, values) for pid, values in courses if not np.isnan(values).any()]
    together = np.sum([values for _, values in whole], axis=0)
    leak = _leak(watched, together) if len(whole) > 1 else None
    if leak is None:
        return None
    return Growing(
        kind="processes",
        trend=leak.trend,
        since_unix_s=leak.since_unix_s,
        rise_bytes=leak.rise_bytes,
        role="worker",
        count=len(whole),
        pids=tuple(pid for pid, values in sorted(whole, key=lambda each: each[1][0] - each[1][-1])),
    )


def _or_together(found: list[Growing], together: Growing | None) -> list[Growing]:
    alone = sum(each.trend.slope for each in found if each.role == "worker")
    if together is None or together.trend.slope <= _TOGETHER * alone:
        return found
    return [*(each for each in found if each.role != "worker"), together]


def _shared(watched: Watched) -> Iterator[Growing]:
    """Growth of /dev/shm, with the process that maps or writes as much, if there is one.

    It may have ended: what it left there stays.
    """
    leak = _leak(watched, watched.values(lambda each: each.shm_used_bytes))
    if leak is None:
        return
    candidates = (
        Candidate(
            pid=pid,
            times=watched.at_s,
            mapped=watched.of(each, lambda process: process.shared_bytes),
            written=watched.of(each, lambda process: process.written_bytes),
        )
        for pid, each in watched.seen.items()
    )
    pid = find_filler(leak.trend.slope, candidates)
    filler = None if pid is None else watched.seen[pid]
    yield Growing(
        kind="/dev/shm",
        trend=leak.trend,
        since_unix_s=leak.since_unix_s,
        rise_bytes=leak.rise_bytes,
        pid=pid,
        role=None if filler is None else filler.role,
        rank=None if filler is None else filler.rank,
    )


def _on_gpus(watched: Watched) -> Iterator[Growing]:
    """By process where the driver tells, else of the whole GPU."""
    for index in sorted({gpu.index for moment in watched.moments for gpu in moment.gpus}):
        gpus = [_gpu(moment, index) for moment in watched.moments]
        pids = sorted({pid for gpu in gpus if gpu is not None for pid in gpu.by_pid})
        courses: dict[int | None, Floats] = {
            pid: known(None if gpu is None else gpu.by_pid.get(pid) for gpu in gpus) for pid in pids
        }
        if not pids:
            courses[None] = known(None if gpu is None else gpu.used_bytes for gpu in gpus)
        for pid, values in courses.items():
            leak = _leak(watched, values)
            if leak is not None:
                process = None if pid is None else watched.seen.get(pid)
                yield Growing(
                    kind="GPU",
                    trend=leak.trend,
                    since_unix_s=leak.since_unix_s,
                    rise_bytes=leak.rise_bytes,
                    pid=pid,
                    role=None if process is None else process.role,
                    rank=None if process is None else process.rank,
                    index=index,
                    seconds_left=_until_full(gpus[-1], leak.trend.slope),
                )


def _gpu(moment: Moment, index: int) -> WatchedGpu | None:
    return next((gpu for gpu in moment.gpus if gpu.index == index), None)


def _until_full(gpu: WatchedGpu | None, slope: float) -> float | None:
    if gpu is None or gpu.total_bytes is None or gpu.used_bytes is None:
        return None
    return max(0, gpu.total_bytes - gpu.used_bytes) / slope
