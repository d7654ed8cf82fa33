"""From the marks of a step to the records of its stages, once every mark is done."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from vrtspike.profiling.backward_trail import Direction, Part
from vrtspike.profiling.memory import StagePeaks
from vrtspike.profiling.records import (
    BACKWARD_OTHER,
    FORWARD_OTHER,
    RECOMPUTE_OTHER,
    StagesRecord,
)
from vrtspike.profiling.step_book import Account
from vrtspike.profiling.timers import MS_DIGITS, Mark, Timer, round_ms, sum_by_name

_OTHERS = {"forward": FORWARD_OTHER, "backward": BACKWARD_OTHER, "recompute": RECOMPUTE_OTHER}


def stage_records(
    step: int,
    account: Account,
    timer: Timer,
    phases_ms: Mapping[str, float],
    peaks: StagePeaks,
) -> tuple[StagesRecord, ...]:
    """The records of forward, backward and recomputation, as far as they ran.

    Args:
        step: The step.
        account: Its marks, all of them done.
        timer: The timer that took them.
        phases_ms: The step's phases by the same clock.
        peaks: Peak memory by phase and stage in a sampled step, otherwise empty.
    """
    if not account.stages.calls:
        return ()
    forward = _forward(step, account, timer, phases_ms, peaks)
    return (*forward, *_backward(step, account, timer, phases_ms, peaks))


def _forward(
    step: int,
    account: Account,
    timer: Timer,
    phases_ms: Mapping[str, float],
    peaks: StagePeaks,
) -> Iterator[StagesRecord]:
    if not account.forward_ran:
        return
    calls = account.stages.calls
    spent = sum_by_name(timer, account.stages.intervals)
    ms = {name: spent[name] for name in calls if name in spent}
    ms[FORWARD_OTHER] = _rest(phases_ms["forward"], ms.values())
    yield StagesRecord(
        step=step,
        phase="forward",
        clock=timer.clock,
        ms=ms,
        calls=calls,
        peak_allocated_bytes=_peaks_of("forward", peaks),
    )


def _backward(
    step: int,
    account: Account,
    timer: Timer,
    phases_ms: Mapping[str, float],
    peaks: StagePeaks,
) -> Iterator[StagesRecord]:
    """Nothing for a backward that never came to a stage: where its time went is not known."""
    stretches = account.stages.stretches
    if not stretches:
        return
    spent = sum_by_part(timer, stretches)
    names = (*account.stages.calls, RECOMPUTE_OTHER)
    ms = {direction: {n: of[n] for n in names if n in of} for direction, of in spent.items()}
    inside_ms = [each for of in spent.values() for each in of.values()]
    ms["backward"][BACKWARD_OTHER] = _rest(phases_ms["backward"], inside_ms)
    part_calls = account.stages.part_calls
    for direction in spent:
        if ms[direction]:
            yield StagesRecord(
                step=step,
                phase=direction,
                clock=timer.clock,
                ms=ms[direction],
                calls={name: part_calls.get((direction, name), 0) for name in account.stages.calls},
                peak_allocated_bytes=_peaks_of(direction, peaks),
            )


def sum_by_part(
    timer: Timer, stretches: list[tuple[Mark, Part | None]]
) -> dict[Direction, dict[str, float]]:
    """Milliseconds of each stage by direction; a stretch reaches from its mark to the next one."""
    total: dict[Direction, dict[str, float]] = {"backward": {}, "recompute": {}}
    elapsed_ms = timer.elapsed_ms
    for (start, part), (end, _) in pairwise(stretches):
        if part is not None:
            direction, name = part
            of = total[direction]
            of[name] = of.get(name, 0.0) + elapsed_ms(start, end)
    return {
        direction: {name: round(ms, MS_DIGITS) for name, ms in of.items()}
        for direction, of in total.items()
    }


def _rest(whole_ms: float, parts_ms: Iterable[float]) -> float:
    """What the parts leave of their phase; two clocks of one device differ by microseconds."""
    return max(0.0, round_ms(whole_ms - sum(parts_ms)))


def _peaks_of(phase: str, peaks: StagePeaks) -> dict[str, int] | None:
    found = {
        stage or _OTHERS[phase]: peak for (named, stage), peak in peaks.items() if named == phase
    }
    return found or None
