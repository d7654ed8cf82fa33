"""What the run said before memory ran out: how much was left, for how long, and who took it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diagnostics.analyses.memory_course import StepAt
from diagnostics.run import Run

EVENT = "memory_running_out"
_SAMPLES = "resources."
_MAX_GROWERS = 4
_MAX_NUMBER = 1e18


@dataclass(frozen=True, kw_only=True)
class Taker:
    """Who took the memory; `pid` is None for what is no process of the run."""

    what: str
    pid: int | None
    bytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class MemoryWarningSeen:
    """One warning; `step` is None outside the steps.

    `bytes_per_s` and `seconds_left` are None where nothing grew and hardly anything was left.
    """

    at_unix_s: float
    step: int | None
    free_bytes: float | None
    limit_bytes: float | None
    source: str
    bytes_per_s: float | None
    seconds_left: float | None
    takers: tuple[Taker, ...]


def compute_memory_warnings(run: Run) -> tuple[MemoryWarningSeen, ...]:
    """The warnings in order of time, as the sampler wrote them, else as a rank heard them."""
    events = run.tables.events
    found = events[events["name"] == EVENT]
    is_first_hand = found["source"].str.startswith(_SAMPLES).fillna(False).astype(bool)
    kept = found[is_first_hand] if is_first_hand.any() else found
    kept = kept.dropna(subset=["at_unix_s"]).sort_values("at_unix_s", kind="stable")
    step_at = StepAt(run.tables.steps)
    steps = step_at(kept["at_unix_s"].to_numpy(dtype="float64"))
    rows = zip(kept["at_unix_s"], steps, kept["values"], strict=True)
    return tuple(
        _warning(float(at), None if pd.isna(step) else int(step), values)
        for at, step, values in rows
    )


def _warning(at_unix_s: float, step: int | None, values: Mapping[str, Any]) -> MemoryWarningSeen:
    return MemoryWarningSeen(
        at_unix_s=at_unix_s,
        step=step,
        free_bytes=_number(values.get("free_bytes")),
        limit_bytes=_number(values.get("limit_bytes")),
        source=str(values.get("source") or ""),
        bytes_per_s=_number(values.get("bytes_per_s")),
        seconds_left=_number(values.get("seconds_left")),
        takers=tuple(_takers(values)),
    )


def _takers(values: Mapping[str, Any]) -> Iterator[Taker]:
    for place in range(1, _MAX_GROWERS + 1):
        what, pid = values.get(f"grower{place}"), values.get(f"grower{place}_pid")
        rate = _number(values.get(f"grower{place}_bytes_per_s"))
        if isinstance(what, str) and rate is not None:
            number = _number(pid)
            yield Taker(what=what, pid=None if number is None else int(number), bytes_per_s=rate)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _MAX_NUMBER else None
