"""What was watched, on one time axis: memory by process, GPUs, disks, and who grows. Pure.

The course stays bounded: when it is full, every second moment goes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import LEAST_POINTS, WARM_UP_SHARE
from diagnostics.analyses.machine_jobs import Role
from diagnostics.analyses.watch_growth import Growing, Watched, find_growth, known
from diagnostics.watched import Moment, Subject, WatchedProcess

MAX_MOMENTS = 600
MAX_PROCESSES = 12
"""So many have a line of their own; the others are one line together."""

_KEPT_S, _KEPT_ENDED_S, _KEPT_SHARE = 5.0, 30.0, 0.1
"""For so long, or for this share of the time watched, growth that was seen is still told."""
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
    subject: Subject = field(default_factory=Subject)
    has_ended: bool = False


class WatchCourse:
    """Keeps what is read, thinned so that it stays bounded however long one watches."""

    def __init__(self, max_moments: int = MAX_MOMENTS, subject: Subject | None = None) -> None:
        self._max, self._subject = max_moments, subject or Subject()
        self._moments: list[Moment] = []
        self._first: Moment | None = None
        self._grown: dict[tuple[str, int | None, int | None], tuple[float, Growing]] = {}

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
        watched = Watched(moments)
        growing = self._lately(find_growth(watched))
        return WatchView(
            at_s=np.array([each.at_s - moments[0].at_s for each in moments]),
            unix_s=moments[-1].unix_s,
            lines=tuple(_lines(watched)),
            growing=growing,
            is_judged=len(moments) >= _LEAST_MOMENTS,
            seconds_left=_seconds_left(moments[-1], growing),
            own_core_share=self._own_core_share(),
            subject=self._subject,
        )

    def _lately(self, found: Iterable[Growing]) -> tuple[Growing, ...]:
        """What grows, or grew a moment ago: a training that ends gives its memory back first.

        What a process that has ended grew by is told for longer.
        """
        at_s = self._moments[-1].at_s
        seen_s = at_s - self._moments[0].at_s
        living = {process.pid for process in self._moments[-1].processes}
        self._grown |= {(each.kind, each.pid, each.index): (at_s, each) for each in found}
        kept_s = {
            key: _KEPT_S if growing.pid is None or growing.pid in living else _KEPT_ENDED_S
            for key, (_, growing) in self._grown.items()
        }
        self._grown = {
            key: told
            for key, told in self._grown.items()
            if at_s - told[0] <= max(kept_s[key], _KEPT_SHARE * seen_s)
        }
        kept = (growing for _, growing in self._grown.values())
        return tuple(sorted(kept, key=lambda each: -each.trend.slope))

    def _own_core_share(self) -> float | None:
        first, last = self._first, self._moments[-1]
        if first is None or last.at_s <= first.at_s:
            return None
        return (last.own_cpu_s - first.own_cpu_s) / (last.at_s - first.at_s)


def _lines(watched: Watched) -> Iterator[Line]:
    yield from _gpu_lines(watched.moments)
    yield _rate("disk read", watched, lambda each: each.disk_read_bytes)
    yield _rate("disk write", watched, lambda each: each.disk_write_bytes)
    yield from _process_lines(watched)
    for kind, get in _MACHINE.items():
        values = watched.values(get)
        if kind == "swap" and not np.nansum(values):
            continue
        most = watched.moments[-1].limit_bytes if kind == "free" else None
        yield Line(kind=kind, unit="bytes", values=values, most=most)


_MACHINE: dict[Kind, Callable[[Moment], int | None]] = {
    "/dev/shm": lambda each: each.shm_used_bytes,
    "cache": lambda each: each.cache_bytes,
    "swap": lambda each: each.swap_used_bytes,
    "free": lambda each: each.free_bytes,
}


def _rate(kind: Kind, watched: Watched, get: Callable[[Moment], float | None]) -> Line:
    """The growth of a counter for each second; unknown at the first moment."""
    counted, spans = watched.values(get), np.diff(watched.at_s)
    rates = np.full(len(counted), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates[1:] = np.where(spans > 0, np.maximum(np.diff(counted), 0) / spans, np.nan)
    return Line(kind=kind, unit="bytes/s", values=rates)


def _gpu_lines(moments: Sequence[Moment]) -> Iterator[Line]:
    for index in sorted({gpu.index for each in moments for gpu in each.gpus}):
        by_time = [next((g for g in each.gpus if g.index == index), None) for each in moments]
        total = next((gpu.total_bytes for gpu in reversed(by_time) if gpu is not None), None)
        util = known(None if gpu is None else gpu.util_percent for gpu in by_time)
        used = known(None if gpu is None else gpu.used_bytes for gpu in by_time)
        yield Line(kind="GPU", unit="percent", values=util, index=index, most=100.0)
        yield Line(kind="GPU memory", unit="bytes", values=used, index=index, most=total)


def _process_lines(watched: Watched) -> Iterator[Line]:
    """The processes that live now, the largest first; the smallest together."""
    living = sorted(watched.living, key=lambda each: -(each.own_bytes or 0))
    shown = living if len(living) <= MAX_PROCESSES else living[: MAX_PROCESSES - 1]
    for process in sorted(shown, key=_place):
        yield Line(
            kind="process",
            unit="bytes",
            values=watched.own(process),
            pid=process.pid,
            role=process.role,
            rank=process.rank,
        )
    rest = living[len(shown) :]
    if rest:
        together = np.nansum([watched.own(each) for each in rest], axis=0)
        yield Line(kind="processes", unit="bytes", values=together, count=len(rest))
    if len(living) > 1:
        total = known(sum(p.own_bytes or 0 for p in each.processes) for each in watched.moments)
        yield Line(kind="all", unit="bytes", values=total, count=len(living))


_ORDER: dict[Role, int] = {"launcher": 0, "main": 1, "worker": 2, "sampler": 3, "other": 4}


def _place(process: WatchedProcess) -> tuple[int, int, int]:
    return _ORDER[process.role], process.rank or 0, process.pid


def _seconds_left(moment: Moment, growing: Sequence[Growing]) -> float | None:
    """Of the machine's memory, or the container's; a GPU's is its own."""
    rate = sum(each.trend.slope for each in growing if each.kind != "GPU")
    return moment.free_bytes / rate if rate > 0 and moment.free_bytes is not None else None
