"""Closed steps that wait for their device times, and what becomes of them: records, in order."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from vrtspike.profiling.memory import StagePeaks
from vrtspike.profiling.parts import StepFields
from vrtspike.profiling.records import (
    MEASURED_PHASES,
    MemoryRecord,
    StagesRecord,
    StepRecord,
)
from vrtspike.profiling.stage_records import stage_records
from vrtspike.profiling.step_book import Account
from vrtspike.profiling.timers import Interval, Mark, Timer, round_ms, sum_by_name

WRITE_EVERY_NS = 100_000_000
"""Short steps are written together, this often: one by one, each would pay anew for the caches
that the training has emptied. A process that is killed loses no more than this."""

MOST_TOGETHER = 64
"""However short the steps are, no more of them wait."""


@dataclass(slots=True)
class PendingStep:
    """A step whose device has not been heard of yet.

    `scalars` and `fields` give their values once the step's end mark is done.
    """

    step: int
    micro_batches: int
    samples: int | None
    account: Account
    tags: tuple[str, ...]
    scalar_names: tuple[str, ...]
    scalars: Callable[[], list[float]]
    lr: float | None
    memory: MemoryRecord | None
    stage_peaks: StagePeaks = field(default_factory=dict)
    fields: StepFields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The records of one step."""

    step: StepRecord
    stages: tuple[StagesRecord, ...]


class PendingSteps:
    """A queue of steps; those that are done leave it in step order."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._queue: deque[PendingStep] = deque()
        self._written_ns: int | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, pending: PendingStep) -> None:
        """Appends a step."""
        self._queue.append(pending)

    def due(self, now_ns: int) -> list[Resolved]:
        """Those that are ready, if the last were taken long enough ago; never waits."""
        before_ns = self._written_ns
        waits = before_ns is not None and now_ns - before_ns < WRITE_EVERY_NS
        if waits and len(self._queue) < MOST_TOGETHER:
            return []
        self._written_ns = now_ns
        return list(self.ready())

    def ready(self) -> Iterator[Resolved]:
        """The steps at the head of the queue whose every mark is done; never waits."""
        while self._queue and self._done(self._queue[0].account):
            yield resolve(self._queue.popleft(), self._timer)

    def abandoned(self) -> Iterator[Resolved]:
        """Empties the queue, without device times: the device will never answer."""
        while self._queue:
            yield resolve_without_device(self._queue.popleft())

    def _done(self, account: Account) -> bool:
        if self._timer.clock == "host":
            return True
        # The end of the step is the last to be passed: asking it first makes "not yet" cheap.
        done = self._timer.done
        return done(account.end_mark) and all(done(mark) for mark in _marks(account))


def resolve(pending: PendingStep, timer: Timer) -> Resolved:
    """The records of a step whose marks are all done; its marks go back to the timer."""
    account = pending.account
    values, nonfinite = _split(pending.scalar_names, pending.scalars())
    host_ms = _host_ms(account)
    device_ms = _device_ms(account, timer) if timer.clock == "device" else None
    step = _step_record(pending, values, nonfinite, host_ms, device_ms)
    stages = stage_records(pending.step, account, timer, device_ms or host_ms, pending.stage_peaks)
    if timer.clock == "device":
        timer.release(_marks(account))
    return Resolved(step, stages)


def resolve_without_device(pending: PendingStep) -> Resolved:
    """The record of a step whose device failed: host times only."""
    silent = replace(pending, fields={})
    return Resolved(_step_record(silent, {}, {}, _host_ms(pending.account), None), ())


def _step_record(
    pending: PendingStep,
    values: dict[str, float],
    nonfinite: dict[str, str],
    host_ms: dict[str, float],
    device_ms: dict[str, float] | None,
) -> StepRecord:
    clock: Literal["device", "host"] = "host" if device_ms is None else "device"
    loss, grad_norm = values.pop("loss", None), values.pop("grad_norm", None)
    measured: dict[str, Any] = {name: read() for name, read in pending.fields.items()}
    return StepRecord(
        step=pending.step,
        start_unix_s=pending.account.start_unix_s,
        micro_batches=pending.micro_batches,
        samples=pending.samples,
        clock=clock,
        host_ms=host_ms,
        device_ms=device_ms,
        tags=pending.tags,
        loss=loss,
        loss_terms=values,
        lr=pending.lr,
        grad_norm=grad_norm,
        nonfinite=nonfinite,
        memory=pending.memory,
        **measured,
    )


def _split(names: tuple[str, ...], values: list[float]) -> tuple[dict[str, float], dict[str, str]]:
    named = dict(zip(names, values, strict=True))
    finite = {name: value for name, value in named.items() if math.isfinite(value)}
    return finite, {name: str(value) for name, value in named.items() if name not in finite}


def _host_ms(account: Account) -> dict[str, float]:
    spent_ns = account.host_ns
    other_ns = account.step_ns - sum(spent_ns.values())
    return {
        **{phase: spent_ns.get(phase, 0) / 1e6 for phase in MEASURED_PHASES},
        "other": other_ns / 1e6,
        "step": account.step_ns / 1e6,
    }


def _device_ms(account: Account, timer: Timer) -> dict[str, float]:
    step_ms = round_ms(timer.elapsed_ms(account.start_mark, account.end_mark))
    spent = sum_by_name(timer, account.device_phases)
    return {
        **{phase: spent.get(phase, 0.0) for phase in MEASURED_PHASES},
        "other": round_ms(step_ms - sum(spent.values())),
        "step": step_ms,
    }


def _marks(account: Account) -> list[Mark]:
    def of(intervals: list[Interval]) -> list[Mark]:
        return [mark for interval in intervals for mark in (interval.start, interval.end)]

    marks = [*of(account.device_phases), *of(account.stages.intervals)]
    trail = [mark for mark, _ in account.stages.stretches]
    return [account.start_mark, account.end_mark, *marks, *trail]
