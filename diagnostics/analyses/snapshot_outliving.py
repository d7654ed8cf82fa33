"""What outlives the step that allocated it: state that stays, and leaks that add up. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.snapshot_memory import live_allocations
from diagnostics.analyses.snapshot_places import labelled, place_of
from diagnostics.memory_snapshot import MemorySnapshot

LEAST_STEPS = 4
"""Steps in which the same line must have left something before it counts as adding up."""
LEAST_SHARE = 0.5
"""Of the steps of the history; what is left once in a while is a cache or a log."""


@dataclass(frozen=True, kw_only=True)
class Remnant:
    """What one line allocated in steps that are over, and that was still held at the end.

    `is_adding_up`: in so many of the steps that more will follow with every further one.
    """

    place: str
    size_bytes: int
    count: int
    num_steps: int
    per_step_bytes: float
    is_adding_up: bool


@dataclass(frozen=True, kw_only=True)
class Outliving:
    """Of one device; `reason` says why nothing can be told, None where it could.

    `num_steps` are those that lie whole in the history; the last one may still be running.
    """

    num_steps: int = 0
    remnants: tuple[Remnant, ...] = ()
    reason: str | None = None


def compute_outliving(
    snapshot: MemorySnapshot, device: int, step_starts_unix_s: Sequence[float] = ()
) -> Outliving:
    """By the steps that the labels of the history tell, else by the times at which steps began.

    Args:
        snapshot: The snapshot.
        device: One of its devices.
        step_starts_unix_s: When the steps of the run began, if its facts are at hand.
    """
    history = snapshot.history
    moves = history[
        (history["device"] == device) & history["action"].isin(("alloc", "free_completed"))
    ]
    if not len(moves):
        return Outliving(reason="the snapshot holds no history of allocations")
    steps = _steps_by_label(moves)
    if steps is None:
        steps = _steps_by_time(moves, step_starts_unix_s)
    if steps is None:
        return Outliving(
            reason="nothing says where steps begin: record with PROFILING.MEMORY_HISTORY, whose "
            "labels do, or give the run's facts as well"
        )
    known = steps[~np.isnan(steps)]
    whole = np.unique(known)[1:-1]  # the first may have begun before, the last may go on
    if not len(whole):
        return Outliving(reason="no whole step lies in the history")
    remnants = _remnants(snapshot, moves, steps, whole)
    return Outliving(num_steps=len(whole), remnants=remnants)


def _steps_by_label(moves: pd.DataFrame) -> Floats | None:
    numbers = {label: _step(str(label)) for label in moves["label"].unique()}
    found = moves["label"].map(numbers).to_numpy(dtype="float64")
    return None if np.isnan(found).all() else found


def _step(label: str) -> float:
    number = labelled(label, "step")
    return float(number) if number is not None and number.isdecimal() else float("nan")


def _steps_by_time(moves: pd.DataFrame, starts: Sequence[float]) -> Floats | None:
    times = moves["at_unix_s"].to_numpy(dtype="float64")
    if not len(starts) or np.isnan(times).all():
        return None
    ordered = np.sort(np.asarray(starts, dtype="float64"))
    found = np.searchsorted(ordered, times, side="right").astype("float64")
    found[np.isnan(times) | (found == 0)] = np.nan
    return None if np.isnan(found).all() else found


def _remnants(
    snapshot: MemorySnapshot, moves: pd.DataFrame, steps: Floats, whole: Floats
) -> tuple[Remnant, ...]:
    is_whole = set(whole.tolist())
    by_stack: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for size, stack, _, row in live_allocations(moves):
        if steps[row] in is_whole:
            by_stack[stack].append((size, float(steps[row])))
    places: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for stack, left in by_stack.items():
        places[place_of(snapshot.stacks[stack] if stack >= 0 else ())] += left
    found = [_remnant(place, left, len(whole)) for place, left in places.items()]
    return tuple(sorted(found, key=lambda each: (not each.is_adding_up, -each.size_bytes)))


def _remnant(place: str, left: list[tuple[int, float]], num_steps: int) -> Remnant:
    size, seen = sum(size for size, _ in left), len({step for _, step in left})
    return Remnant(
        place=place,
        size_bytes=size,
        count=len(left),
        num_steps=seen,
        per_step_bytes=size / num_steps,
        is_adding_up=seen >= max(LEAST_STEPS, LEAST_SHARE * num_steps),
    )
