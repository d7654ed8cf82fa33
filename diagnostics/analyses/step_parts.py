"""The parts of a step, each with its share of its whole, and whether the parts sum to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import pandas as pd

from diagnostics.analyses.distribution import Distribution, distribution_of
from diagnostics.analyses.selection import count_steps
from diagnostics.language import say
from diagnostics.run import Clock

CLOSURE_LIMIT = 0.01
"""Parts may miss their whole by this share before a report must say so."""

STEP = "step"
FORWARD = "forward"
OTHER = "other"
FORWARD_OTHER = "forward.other"
BACKWARD = "backward"
BACKWARD_OTHER = "backward.other"
RECOMPUTE = "recompute"
RECOMPUTE_OTHER = "recompute.other"


@dataclass(frozen=True, kw_only=True)
class PhaseTime(Distribution):
    """One phase by one clock. `share_of_step` is None when the step's time is unknown."""

    name: str
    clock: Clock
    share_of_step: float | None


@dataclass(frozen=True, kw_only=True)
class StageTime(Distribution):
    """One stage of `phase` (forward, backward or recompute) by one clock.

    `share_of_forward` is the share of the forward phase, None for stages of another phase.
    """

    name: str
    phase: str
    clock: Clock
    share_of_forward: float | None


@dataclass(frozen=True, kw_only=True)
class Closure:
    """Do the parts sum to their whole? `other_share` is the remainder part's share of the whole.

    `name` is "phases of the step", "stages of the forward" or "stages of the backward", of which
    recomputation is a part.
    """

    name: str
    clock: Clock
    whole_ms: float
    parts_ms: float
    difference_share: float
    holds: bool
    other_share: float | None


def step_times(rows: pd.DataFrame) -> dict[Clock, Distribution]:
    """The whole step by each clock, of rows of the table `phases`."""
    times = _times_by_key(rows[rows["name"] == STEP], ["clock"])
    return {cast("Clock", key[0]): found for key, found in times.items()}


def summed_phases(rows: pd.DataFrame) -> dict[Clock, Distribution]:
    """The step by each clock as the sum of the phases that one stage line of a text log states.

    Its step lines leave out tagged steps that stage lines of single steps hold, so that the phases
    of the one do not fit the step of the other.
    """
    parts = rows[rows["name"] != STEP]
    lines = parts.groupby(["clock", "rank", "step"], observed=True, as_index=False).agg(
        ms=("ms", "sum"), num_steps=("num_steps", "first"), num_parts=("name", "nunique")
    )
    # The wait alone, from a step line, is no step.
    whole = lines[lines["num_parts"] > 1]
    return {cast("Clock", key[0]): found for key, found in _times_by_key(whole, ["clock"]).items()}


def phase_times(
    rows: pd.DataFrame, steps: Mapping[Clock, Distribution], order: Sequence[str]
) -> tuple[PhaseTime, ...]:
    """The phases in the given order, later ones in that of their appearance.

    The share is of the measured step; where the clock has none, of the sum of the phases.
    """
    times = _times_by_key(rows[rows["name"] != STEP], ["name", "clock"])
    found = []
    for (name, clock), time in _ordered(times, order):
        siblings = [each for (_, other), each in times.items() if other == clock]
        whole = steps.get(cast("Clock", clock))
        whole_ms = whole.mean_ms if whole else _sum_ms(siblings)
        found.append(
            PhaseTime(
                name=name,
                clock=cast("Clock", clock),
                share_of_step=_share(_mean_ms(time, siblings), whole_ms),
                **asdict(time),
            )
        )
    return tuple(found)


def stage_times(
    rows: pd.DataFrame, phase_rows: pd.DataFrame, order: Sequence[str]
) -> tuple[StageTime, ...]:
    """The stages in the given order; the share is of the forward phase of the same steps."""
    times = _times_by_key(rows, ["name", "phase", "clock"])
    wholes = _whole_of(FORWARD, rows[rows["phase"] == FORWARD], phase_rows)
    found = []
    for (name, phase, clock), time in _ordered(times, order):
        siblings = [each for (_, *other), each in times.items() if other == [FORWARD, clock]]
        whole = wholes.get(cast("Clock", clock))
        whole_ms = whole.mean_ms if whole else _sum_ms(siblings)
        is_forward = phase == FORWARD
        share = _share(_mean_ms(time, siblings), whole_ms) if is_forward else None
        found.append(
            StageTime(
                name=name,
                phase=phase,
                clock=cast("Clock", clock),
                share_of_forward=share,
                **asdict(time),
            )
        )
    return tuple(found)


def phase_closures(
    phases: Iterable[PhaseTime], steps: Mapping[Clock, Distribution]
) -> tuple[Closure, ...]:
    """Do the phases sum to the step, by each clock that measured both?"""
    by_clock: dict[Clock, list[PhaseTime]] = {}
    for each in phases:
        by_clock.setdefault(each.clock, []).append(each)
    return tuple(
        _closure("phases of the step", clock, steps[clock].mean_ms, parts, OTHER)
        for clock, parts in by_clock.items()
        # The wait alone, from the step lines of a log, is no decomposition.
        if clock in steps and steps[clock].mean_ms > 0 and len(parts) > 1
    )


def stage_closures(
    stages: Sequence[StageTime], rows: pd.DataFrame, phase_rows: pd.DataFrame
) -> tuple[Closure, ...]:
    """Do the stages sum to forward and backward, by each clock that measured both?"""
    found = []
    for whole, inside, other in (
        (FORWARD, (FORWARD,), FORWARD_OTHER),
        (BACKWARD, (BACKWARD, RECOMPUTE), BACKWARD_OTHER),
    ):
        wholes = _whole_of(whole, rows[rows["phase"] == whole], phase_rows)
        by_clock: dict[Clock, list[StageTime]] = {}
        for each in stages:
            if each.phase in inside:
                by_clock.setdefault(each.clock, []).append(each)
        found += [
            _closure(
                say("stages of the {whole}", whole=whole),
                clock,
                wholes[clock].mean_ms,
                parts,
                other,
            )
            for clock, parts in by_clock.items()
            if clock in wholes and wholes[clock].mean_ms > 0
        ]
    return tuple(found)


def _closure(
    name: str,
    clock: Clock,
    whole_ms: float,
    parts: Sequence[PhaseTime] | Sequence[StageTime],
    other_name: str,
) -> Closure:
    parts_ms = _sum_ms(parts)
    difference = abs(parts_ms - whole_ms) / whole_ms
    other = next((_mean_ms(each, parts) for each in parts if each.name == other_name), None)
    return Closure(
        name=name,
        clock=clock,
        whole_ms=whole_ms,
        parts_ms=parts_ms,
        difference_share=difference,
        holds=difference <= CLOSURE_LIMIT,
        other_share=None if other is None else other / whole_ms,
    )


def _whole_of(
    phase: str, rows: pd.DataFrame, phase_rows: pd.DataFrame
) -> dict[Clock, Distribution]:
    """The phase over the steps whose stages were recorded, by clock."""
    is_whole = (phase_rows["name"] == phase) & phase_rows["step"].isin(rows["step"].unique())
    times = _times_by_key(phase_rows[is_whole], ["clock"])
    return {cast("Clock", key[0]): found for key, found in times.items()}


def _times_by_key(rows: pd.DataFrame, key: list[str]) -> dict[tuple[str, ...], Distribution]:
    groups = rows.groupby(key, observed=True, sort=False)
    return {
        cast("tuple[str, ...]", found): distribution_of(
            part["ms"].to_numpy(), part["num_steps"].to_numpy(), count_steps(part)
        )
        for found, part in groups
    }


def _mean_ms(part: Distribution, siblings: Sequence[Distribution]) -> float:
    """Mean over all steps that were recorded: a part that only some of them had counts less."""
    return part.mean_ms * part.count / max(each.count for each in siblings)


def _sum_ms(parts: Sequence[Distribution]) -> float:
    return sum(_mean_ms(each, parts) for each in parts)


def _share(part_ms: float, whole_ms: float) -> float | None:
    return part_ms / whole_ms if whole_ms > 0 else None


def _ordered(
    times: Mapping[tuple[str, ...], Distribution], order: Sequence[str]
) -> list[tuple[tuple[str, ...], Distribution]]:
    places = {name: place for place, name in enumerate(order)}
    return sorted(times.items(), key=lambda item: places.get(item[0][0], len(places)))
