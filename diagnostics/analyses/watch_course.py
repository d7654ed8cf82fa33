"""What was watched, on one time axis: memory by process, GPUs, disks, and who grows. Pure.

The course stays bounded: when it is full, every second moment goes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import (
    LEAST_POINTS,
    WARM_UP_SHARE,
    GrowthTrend,
    growth_trend,
)
from diagnostics.analyses.machine_jobs import Role
from diagnostics.analyses.shm_filler import Candidate, find_filler
from diagnostics.watched import Moment, WatchedProcess

MAX_MOMENTS = 600
LEAST_RISE_BYTES = 48 << 20
"""Less is an arena or two of the C library's allocator, which are 64 MiB."""

MAX_PROCESSES = 12
"""So many have a line of their own; the others are one line together."""

_KEPT_S, _KEPT_SHARE = 5.0, 0.1
"""For so long, or for this share of the time watched, growth that was seen is still told."""
_TOGETHER = 1.25
"""So much more must all loading processes grow than those that grow alone, to be told as one."""
_LEAST_MOMENTS = round(LEAST_POINTS / (1 - WARM_UP_SHARE))

Unit = Literal["percent", "bytes", "bytes/s"]
Kind = Literal[
    "process",
    "processes",
    "all",
    "/dev/shm",
    "cache",
    "swap",
    "free",
    "disk read",
    "disk write",
    "GPU",
    "GPU memory",
]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One quantity at every moment of the course; NaN where it was not known.

    `pid`, `role` and `rank` are those of a process, `count` how many processes it sums, `index`
    a GPU's. `most` is the most there can be.
    """

    kind: Kind
    unit: Unit
    values: Floats
    pid: int | None = None
    role: Role | None = None
    rank: int | None = None
    count: int = 1
    index: int | None = None
    most: float | None = None

    @property
    def now(self) -> float | None:
        """The last value that is known."""
        known = self.values[~np.isnan(self.values)]
        return float(known[-1]) if len(known) else None

    @property
    def first(self) -> float | None:
        """The first value that is known."""
        known = self.values[~np.isnan(self.values)]
        return float(known[0]) if len(known) else None

    @property
    def least(self) -> float | None:
        """The smallest value."""
        known = self.values[~np.isnan(self.values)]
        return float(known.min()) if len(known) else None

    @property
    def peak(self) -> float | None:
        """The largest value."""
        known = self.values[~np.isnan(self.values)]
        return float(known.max()) if len(known) else None


@dataclass(frozen=True, kw_only=True)
class Growing:
    """Memory that grows steadily while it is watched: of a process, of several, or of /dev/shm.

    The trend is in bytes over seconds. `since_unix_s` is when the growth began, as far as it was
    watched. The process of /dev/shm is the one that fills it, None if none is seen to.
    """

    kind: Literal["process", "processes", "/dev/shm"]
    trend: GrowthTrend
    since_unix_s: float
    pid: int | None = None
    role: Role | None = None
    rank: int | None = None
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class WatchView:
    """What is shown. `at_s` are the moments' times since the first.

    `is_judged` is false while there are too few moments to tell growth. `seconds_left` is the time
    until the memory's end as it grows now; None where nothing grows.
    """

    at_s: Floats
    unix_s: float
    lines: tuple[Line, ...]
    growing: tuple[Growing, ...]
    is_judged: bool
    seconds_left: float | None
    own_core_share: float | None
    has_ended: bool = False


class WatchCourse:
    """Keeps what is read, thinned so that it stays bounded however long one watches."""

    def __init__(self, max_moments: int = MAX_MOMENTS) -> None:
        self._max = max_moments
        self._moments: list[Moment] = []
        self._first: Moment | None = None
        self._grown: dict[tuple[str, int | None], tuple[float, Growing]] = {}

    def add(self, moment: Moment) -> None:
        """The next moment, later than all before."""
        self._first = self._first or moment
        if len(self._moments) >= self._max:
            self._moments = self._moments[::2]
        self._moments.append(moment)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Those that are kept, in order."""
        return tuple(self._moments)

    def view(self) -> WatchView:
        """Everything of them; `add` has been called at least once."""
        moments = self.moments
        growing = self._lately(find_growth(moments))
        return WatchView(
            at_s=np.array([each.at_s - moments[0].at_s for each in moments]),
            unix_s=moments[-1].unix_s,
            lines=tuple(_lines(moments)),
            growing=growing,
            is_judged=len(moments) >= _LEAST_MOMENTS,
            seconds_left=_seconds_left(moments[-1], growing),
            own_core_share=self._own_core_share(),
        )

    def _lately(self, found: Iterable[Growing]) -> tuple[Growing, ...]:
        """What grows, or grew a moment ago: a training that ends gives its memory back first."""
        at_s = self._moments[-1].at_s
        seen_s = at_s - self._moments[0].at_s
        self._grown |= {(each.kind, each.pid): (at_s, each) for each in found}
        kept_s = max(_KEPT_S, _KEPT_SHARE * seen_s)
        self._grown = {key: told for key, told in self._grown.items() if at_s - told[0] <= kept_s}
        kept = (growing for _, growing in self._grown.values())
        return tuple(sorted(kept, key=lambda each: -each.trend.slope))

    def _own_core_share(self) -> float | None:
        first, last = self._first, self._moments[-1]
        if first is None or last.at_s <= first.at_s:
            return None
        return (last.own_cpu_s - first.own_cpu_s) / (last.at_s - first.at_s)


def _lines(moments: Sequence[Moment]) -> Iterator[Line]:
    yield from _gpu_lines(moments)
    yield _rate("disk read", moments, lambda each: each.disk_read_bytes)
    yield _rate("disk write", moments, lambda each: each.disk_write_bytes)
    yield from _process_lines(moments)
    yield Line(kind="/dev/shm", unit="bytes", values=_values(moments, _shm))
    cached = _values(moments, lambda each: each.cache_bytes)
    yield Line(kind="cache", unit="bytes", values=cached)
    if any(each.swap_used_bytes for each in moments):
        swap = _values(moments, lambda each: each.swap_used_bytes)
        yield Line(kind="swap", unit="bytes", values=swap)
    free = _values(moments, lambda each: each.free_bytes)
    yield Line(kind="free", unit="bytes", values=free, most=moments[-1].limit_bytes)


def _shm(moment: Moment) -> int | None:
    return moment.shm_used_bytes


def _values(moments: Sequence[Moment], get: Callable[[Moment], float | None]) -> Floats:
    found = (get(each) for each in moments)
    return np.array([np.nan if value is None else value for value in found], dtype="float64")


def _rate(kind: Kind, moments: Sequence[Moment], get: Callable[[Moment], float | None]) -> Line:
    """The growth of a counter for each second; unknown at the first moment."""
    counted, at_s = _values(moments, get), np.array([each.at_s for each in moments])
    rates = np.full(len(moments), np.nan)
    spans = np.diff(at_s)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates[1:] = np.where(spans > 0, np.maximum(np.diff(counted), 0) / spans, np.nan)
    return Line(kind=kind, unit="bytes/s", values=rates)


def _gpu_lines(moments: Sequence[Moment]) -> Iterator[Line]:
    for index in sorted({gpu.index for each in moments for gpu in each.gpus}):
        by_time = [next((g for g in each.gpus if g.index == index), None) for each in moments]
        total = next((gpu.total_bytes for gpu in reversed(by_time) if gpu is not None), None)
        util = [None if gpu is None else gpu.util_percent for gpu in by_time]
        used = [None if gpu is None else gpu.used_bytes for gpu in by_time]
        yield Line(kind="GPU", unit="percent", values=_known(util), index=index, most=100.0)
        yield Line(kind="GPU memory", unit="bytes", values=_known(used), index=index, most=total)


def _known(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if each is None else each for each in values], dtype="float64")


def _process_lines(moments: Sequence[Moment]) -> Iterator[Line]:
    """The processes that live now, the largest first; the smallest together."""
    tables = [{(each.pid, each.started): each for each in moment.processes} for moment in moments]
    living = sorted(tables[-1].values(), key=lambda each: -(each.own_bytes or 0))
    shown = living if len(living) <= MAX_PROCESSES else living[: MAX_PROCESSES - 1]
    for process in sorted(shown, key=_place):
        values = _own_of(tables, process)
        yield Line(
            kind="process",
            unit="bytes",
            values=values,
            pid=process.pid,
            role=process.role,
            rank=process.rank,
        )
    rest = living[len(shown) :]
    if rest:
        together = np.nansum([_own_of(tables, each) for each in rest], axis=0)
        yield Line(kind="processes", unit="bytes", values=together, count=len(rest))
    if len(living) > 1:
        total = [sum(each.own_bytes or 0 for each in table.values()) for table in tables]
        yield Line(kind="all", unit="bytes", values=_known(total), count=len(living))


_ORDER: dict[Role, int] = {"launcher": 0, "main": 1, "worker": 2, "sampler": 3, "other": 4}


def _place(process: WatchedProcess) -> tuple[int, int, int]:
    return _ORDER[process.role], process.rank or 0, process.pid


def _own_of(
    tables: Sequence[dict[tuple[int, int], WatchedProcess]], process: WatchedProcess
) -> Floats:
    key = (process.pid, process.started)
    return _known([table[key].own_bytes if key in table else None for table in tables])


def find_growth(moments: Sequence[Moment]) -> Iterator[Growing]:
    """Processes whose own memory grows steadily, the fastest first, and /dev/shm if it does.

    Loading processes are judged together, too, since a leak in each sample is shared out among
    them: as a whole they are told where that grows more than those that grow alone.
    """
    at_s = np.array([each.at_s for each in moments])
    unix_s = np.array([each.unix_s for each in moments])
    tables = [{(each.pid, each.started): each for each in moment.processes} for moment in moments]
    found = [
        grown
        for process in tables[-1].values()
        if (grown := _growing(at_s, unix_s, _own_of(tables, process), process)) is not None
    ]
    found = _or_together(found, _loaders(tables, at_s, unix_s))
    yield from sorted(found, key=lambda each: -each.trend.slope)
    values = _values(moments, _shm)
    trend = _leak(at_s, values)
    if trend is not None:
        yield _in_shm(tables, at_s, trend, began(unix_s, values, trend))


def _growing(
    at_s: Floats, unix_s: Floats, values: Floats, process: WatchedProcess
) -> Growing | None:
    trend = _leak(at_s, values)
    if trend is None:
        return None
    return Growing(
        kind="process",
        trend=trend,
        since_unix_s=began(unix_s, values, trend),
        pid=process.pid,
        role=process.role,
        rank=process.rank,
    )


def _loaders(
    tables: Sequence[dict[tuple[int, int], WatchedProcess]], at_s: Floats, unix_s: Floats
) -> Growing | None:
    """Loading processes that were there all the time, together."""
    workers = [each for each in tables[-1].values() if each.role == "worker"]
    courses = [_own_of(tables, each) for each in workers]
    whole = [values for values in courses if not np.isnan(values).any()]
    if len(whole) < 2:
        return None
    values = np.sum(whole, axis=0)
    trend = _leak(at_s, values)
    if trend is None:
        return None
    return Growing(
        kind="processes",
        trend=trend,
        since_unix_s=began(unix_s, values, trend),
        role="worker",
        count=len(whole),
    )


def _or_together(found: list[Growing], together: Growing | None) -> list[Growing]:
    single = [each for each in found if each.role == "worker"]
    if together is None or together.trend.slope <= _TOGETHER * sum(
        each.trend.slope for each in single
    ):
        return found
    return [*(each for each in found if each.role != "worker"), together]


def _leak(at_s: Floats, values: Floats) -> GrowthTrend | None:
    trend = growth_trend(at_s, values)
    grows = trend is not None and trend.grows and trend.rise >= LEAST_RISE_BYTES
    return trend if grows else None


def began(unix_s: Floats, values: Floats, trend: GrowthTrend) -> float:
    """When the growth began: where a line of its slope through the end meets the first level.

    No earlier than what was seen.
    """
    known = ~np.isnan(values)
    times, sizes = unix_s[known], values[known]
    level, last = float(sizes[: max(1, len(sizes) // 10)].min()), float(sizes[-1])
    guess = times[-1] - max(0.0, last - level) / trend.slope
    return float(max(times[0], min(guess, times[-1])))


def _in_shm(
    tables: Sequence[dict[tuple[int, int], WatchedProcess]],
    at_s: Floats,
    trend: GrowthTrend,
    since_unix_s: float,
) -> Growing:
    """Growth of /dev/shm, with the process that maps or writes as much, if there is one.

    It may have ended: what it left there stays.
    """
    seen = {key: process for table in tables for key, process in table.items()}
    candidates = []
    for process in seen.values():
        held = [table.get((process.pid, process.started)) for table in tables]
        mapped = _known([None if each is None else each.shared_bytes for each in held])
        written = _known([None if each is None else each.written_bytes for each in held])
        candidates.append(Candidate(pid=process.pid, times=at_s, mapped=mapped, written=written))
    pid = find_filler(trend.slope, candidates)
    filler = next((each for each in seen.values() if each.pid == pid), None)
    return Growing(
        kind="/dev/shm",
        trend=trend,
        since_unix_s=since_unix_s,
        pid=pid,
        role=None if filler is None else filler.role,
        rank=None if filler is None else filler.rank,
    )


def _seconds_left(moment: Moment, growing: Sequence[Growing]) -> float | None:
    rate = sum(each.trend.slope for each in growing)
    return moment.free_bytes / rate if rate > 0 and moment.free_bytes is not None else None
