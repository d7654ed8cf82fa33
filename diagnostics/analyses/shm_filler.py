"""Which process fills /dev/shm: the one that maps, or writes, as much more as lies there. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.growth_trend import growth_trend

_LEAST_SHARE = 0.5
"""Of the growth of /dev/shm: who maps or writes less does not fill it."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A process: what it maps that others may map, too, and what it has written so far (a counter).

    A file in /dev/shm that is written and closed is mapped by nobody; a mapped one need not be
    written to by a call. `times` are steps or seconds.
    """

    pid: int
    times: Floats
    mapped: Floats
    written: Floats


def find_filler(slope: float, candidates: Iterable[Candidate]) -> int | None:
    """The process whose growth is nearest to that of /dev/shm; None where none comes near.

    Args:
        slope: The growth of /dev/shm for each unit of their times.
        candidates: The processes that live.
    """
    found: dict[int, float] = {}
    for each in candidates:
        for values in (each.mapped, each.written):
            trend = growth_trend(each.times, values)
            if trend is not None and trend.grows and trend.slope >= _LEAST_SHARE * slope:
                distance = abs(trend.slope - slope)
                found[each.pid] = min(distance, found.get(each.pid, distance))
    return min(found, key=lambda pid: found[pid], default=None)
