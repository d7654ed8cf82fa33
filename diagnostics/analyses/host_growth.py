"""Which memory of the host grows steadily over the steps: of processes, and of /dev/shm.

Processes are judged apart, so that those which start or end with an epoch are none of it. Loading
processes that live all along are judged together too: what each of them loses may be too little to
show. Of a process counts what it does not share: what processes share lies in /dev/shm or in files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from diagnostics.analyses.copied_growth import find_copied_growth
from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import WARM_UP_SHARE, GrowthTrend
from diagnostics.analyses.late_growth import growth_at_last
from diagnostics.analyses.memory_course import MemoryCourse, MemoryName, StepAt
from diagnostics.analyses.shm_filler import Candidate, find_filler
from diagnostics.run import Run

Holder = Literal[
    "training_process",
    "loader_process",
    "loader_processes",
    "copied_pages",
    "other_process",
    "shared_memory",
    "process_tree",
]

LEAST_RISE_BYTES = 48 << 20
"""Less is an arena or two of the C library's allocator, which are 64 MiB."""

_LIVES_ALONG = 0.95
"""Of the samples after warm-up: a process that is in so many was there all along."""
_LATE_SHARE = 0.9
_MOSTLY = 0.75
_HOLDERS: Mapping[str, Holder] = {"main": "training_process", "worker": "loader_process"}
_COURSES: tuple[MemoryName, ...] = ("process tree PSS", "process tree RSS", "rank process RSS")


@dataclass(frozen=True, kw_only=True)
class GrowingMemory:
    """Memory that grows steadily; of `num_processes` processes, of which `pid` is the steepest.

    `pid` is None where no process is known, `rank` where no launcher gave it one. Of shared memory
    it is the process that fills it, and `filler` what that is for. Of processes judged together
    `pids` has all, the one that grew most first. The trend's times are steps, its values bytes.
    """

    holder: Holder
    owner: str
    pid: int | None
    num_processes: int
    trend: GrowthTrend
    filler: Holder | None = None
    rank: int | None = None
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostGrowth:
    """Of the machine that grows most; `growing` has the steepest first.

    `num_steps` is over how many steps memory was followed, None if it was not at all; `num_judged`
    counts the memories with enough points for a trend.
    """

    growing: tuple[GrowingMemory, ...] = ()
    num_steps: int | None = None
    num_judged: int = 0

    @property
    def bytes_per_step(self) -> float:
        """All growing memories together."""
        return _slope(self.growing)

    @property
    def stretch(self) -> tuple[float, float] | None:
        """First and last step between which all of them grow; None where nothing does.

        Of the steepest, where there is no such step.
        """
        if not self.growing:
            return None
        first = max(each.trend.first for each in self.growing)
        last = min(each.trend.last for each in self.growing)
        steepest = self.growing[0].trend
        return (first, last) if first < last else (steepest.first, steepest.last)


@dataclass(frozen=True, kw_only=True)
class _Course:
    """The memory of one holder over the steps."""

    holder: Holder
    owner: str
    pid: int | None
    num_processes: int
    steps: Floats
    values: Floats
    pids: tuple[int, ...] = ()


def compute_host_growth(run: Run, courses: Sequence[MemoryCourse]) -> HostGrowth:
    """By the samples of processes; without them by the memory courses of the run."""
    step_at = StepAt(run.tables.steps)
    by_machine = [
        _named(_growth(list(_of_machine(run, str(host), rows, step_at))), rows, step_at)
        for host, rows in run.tables.processes.groupby("host", observed=True)
    ]
    judged = [each for each in by_machine if each.num_judged]
    if judged:
        return max(judged, key=lambda each: each.bytes_per_step)
    by_name = [_growth([_of_course(each) for each in courses if each.name == n]) for n in _COURSES]
    followed = [each for each in (*by_machine, *by_name) if each.num_steps is not None]
    found = [each for each in followed if each.num_judged] or followed
    return found[0] if found else HostGrowth()


def _growth(courses: Sequence[_Course]) -> HostGrowth:
    known = [each for each in courses if len(each.steps)]
    trends = [(each, growth_at_last(each.steps, each.values)) for each in known]
    found = [
        GrowingMemory(
            holder=course.holder,
            owner=course.owner,
            pid=course.pid,
            num_processes=course.num_processes,
            trend=trend,
            pids=course.pids,
        )
        for course, trend in trends
        if trend is not None and trend.grows and trend.rise >= LEAST_RISE_BYTES
    ]
    return HostGrowth(
        growing=tuple(sorted(_each_once(found), key=lambda each: -each.trend.slope)),
        num_steps=max((int(np.ptp(each.steps)) for each in known), default=None),
        num_judged=sum(trend is not None for _, trend in trends),
    )


def _named(growth: HostGrowth, rows: pd.DataFrame, step_at: StepAt) -> HostGrowth:
    """Shared memory that grows, with the process that maps or writes as much, and ranks.

    Where nothing of a process grows, what loading processes copy may.
    """
    at = step_at(rows["at_unix_s"].to_numpy(dtype="float64"))
    placed = rows.assign(at_step=at).dropna(subset=["at_step"])
    if growth.num_judged and not growth.growing:
        return replace(growth, growing=tuple(_copied(placed)))
    named = [_with_filler(each, placed) for each in growth.growing]
    ranks = placed.groupby("pid")["rank"].last().dropna().astype("int64").to_dict()
    return replace(growth, growing=tuple(replace(each, rank=ranks.get(each.pid)) for each in named))


def _with_filler(growing: GrowingMemory, placed: pd.DataFrame) -> GrowingMemory:
    pid = None
    if growing.holder == "shared_memory":
        pid = find_filler(growing.trend.slope, _candidates(placed))
    if pid is None:
        return growing
    role = str(placed.loc[placed["pid"] == pid, "role"].iloc[-1])
    return replace(growing, pid=pid, filler=_HOLDERS.get(role, "other_process"))


def _copied(placed: pd.DataFrame) -> Iterator[GrowingMemory]:
    found = find_copied_growth(placed, LEAST_RISE_BYTES)
    if found is not None:
        yield GrowingMemory(
            holder="copied_pages",
            owner=str(placed["host"].iloc[0]),
            pid=None,
            num_processes=found.num_processes,
            trend=found.trend,
        )


def _candidates(placed: pd.DataFrame) -> Iterator[Candidate]:
    for pid in sorted(placed["pid"].unique().tolist()):
        rows = placed[placed["pid"] == pid]
        yield Candidate(
            pid=pid,
            times=rows["at_step"].to_numpy(dtype="float64"),
            mapped=rows["shared_bytes"].to_numpy(dtype="float64"),
            written=rows["written_bytes"].to_numpy(dtype="float64"),
        )


def _each_once(found: Sequence[GrowingMemory]) -> list[GrowingMemory]:
    """Loading processes one by one, unless most of their growth shows only in all of them."""
    together = [each for each in found if each.holder == "loader_processes"]
    single = [each for each in found if each.holder == "loader_process"]
    is_told = _slope(single) >= _MOSTLY * _slope(together)
    left_out = together if is_told else single
    return [each for each in found if each not in left_out]


def _slope(growing: Sequence[GrowingMemory]) -> float:
    return sum(each.trend.slope for each in growing)


def _of_course(course: MemoryCourse) -> _Course:
    points = [each for each in course.points if each.step is not None]
    return _placed(
        "training_process" if course.name == "rank process RSS" else "process_tree",
        course.owner,
        np.array([each.step for each in points], dtype="float64"),
        np.array([each.size_bytes for each in points], dtype="float64"),
    )


def _of_machine(run: Run, host: str, rows: pd.DataFrame, step_at: StepAt) -> Iterator[_Course]:
    placed = rows.assign(
        at_step=step_at(rows["at_unix_s"].to_numpy(dtype="float64")),
        own_bytes=(rows["rss_bytes"] - rows["shared_bytes"]).fillna(rows["rss_bytes"]),
    ).dropna(subset=["at_step", "own_bytes"])
    if not len(placed):
        return
    yield from _of_processes(host, placed)
    samples = run.tables.host[run.tables.host["host"] == host]
    at = step_at(samples["at_unix_s"].to_numpy(dtype="float64"))
    shared = samples["shm_used_bytes"].to_numpy(dtype="float64")
    yield _placed("shared_memory", host, at, shared)


def _of_processes(host: str, placed: pd.DataFrame) -> Iterator[_Course]:
    """Of those that live at the end; what ended before has given its memory back."""
    table = placed.pivot_table(index="at_step", columns="pid", values="own_bytes", aggfunc="last")
    at, sizes = table.index.to_numpy(), table.to_numpy()
    roles = placed.groupby("pid")["role"].last()
    is_late = at >= at[0] + _LATE_SHARE * (at[-1] - at[0])
    is_alive = ~np.isnan(sizes[is_late]).all(axis=0)
    for place, pid in enumerate(table.columns.astype("int64").tolist()):
        if not is_alive[place]:
            continue
        holder = _HOLDERS.get(str(roles[pid]), "other_process")
        yield _placed(holder, host, at, sizes[:, place], pid)
    is_warm = at >= at[0] + WARM_UP_SHARE * (at[-1] - at[0])
    is_along = (~np.isnan(sizes[is_warm])).mean(axis=0) >= _LIVES_ALONG
    is_worker = (roles.reindex(table.columns) == "worker").to_numpy()
    if (is_along & is_worker).sum() > 1:
        loading = sizes[:, is_along & is_worker]
        pids = table.columns[is_along & is_worker].astype("int64").to_numpy()
        grown = np.nanmax(loading[is_late], axis=0) - np.nanmin(loading[is_warm], axis=0)
        course = _placed("loader_processes", host, at, loading.sum(axis=1), None, len(pids))
        yield replace(course, pids=tuple(pids[np.argsort(-grown, kind="stable")].tolist()))


def _placed(
    holder: Holder,
    owner: str,
    steps: Floats,
    values: Floats,
    pid: int | None = None,
    num_processes: int = 1,
) -> _Course:
    """What is known of a course; a sum with an unknown part is unknown."""
    is_known = ~np.isnan(steps) & ~np.isnan(values)
    return _Course(
        holder=holder,
        owner=owner,
        pid=pid,
        num_processes=num_processes,
        steps=steps[is_known],
        values=values[is_known],
    )
