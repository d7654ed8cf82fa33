"""Means over the steps since the last line, kept as running sums: nothing grows with the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vrtspike.profiling.records import Clock, StagesRecord, StepRecord


@dataclass
class _Sums:
    """Sums by name; `count` steps went in, of them `counts` with something in the group."""

    count: int = 0
    samples: int | None = 0
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, group: str, values: Mapping[str, float]) -> None:
        sums = self.values.setdefault(group, {})
        # Steps without the group, such as those whose stages were not timed, are missing, not 0.
        self.counts[group] = self.counts.get(group, 0) + 1
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value

    def means(self, group: str) -> dict[str, float]:
        sums = self.values.get(group, {})
        return {name: total / self.counts[group] for name, total in sums.items()}


@dataclass(frozen=True, kw_only=True)
class WindowMeans:
    """Means over a window of steps; times in milliseconds.

    Stages are means over the steps that had them timed; empty where none had.

    `phases_ms` and the stages' times are by `clock`; `host_ms` by the host's. `losses`
    holds `loss` and its terms, NaN where any step of the window had a loss that is no number.
    `samples_per_step` is None where any step did not say its samples.
    """

    step: int
    steps: int
    clock: Clock
    host_ms: dict[str, float]
    phases_ms: dict[str, float]
    stages_ms: dict[str, float]
    backward_ms: dict[str, float] = field(default_factory=dict)
    recompute_ms: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float]
    samples_per_step: float | None
    last: StepRecord

    def samples_per_s(self, world_size: int) -> float | None:
        """Of all ranks, each with as many samples as this one; None where they are not known."""
        step_ms = self.host_ms["step"]
        if self.samples_per_step is None or step_ms <= 0:
            return None
        return 1e3 * self.samples_per_step * world_size / step_ms


class StepWindow:
    """Collects steps until their means are taken.

    Means are over the untagged steps; over all of them if every one was tagged.
    """

    def __init__(self) -> None:
        self._plain = _Sums()
        self._all = _Sums()
        self._last: StepRecord | None = None

    def add(self, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
        """Adds a step."""
        self._last = step
        for sums in (self._all,) if step.tags else (self._all, self._plain):
            _add(sums, step, stages)

    def take(self) -> WindowMeans | None:
        """The means, and a new window; None if no step came."""
        if self._last is None:
            return None
        sums = self._plain if self._plain.count else self._all
        last = self._last
        on_device = "device" in sums.values
        self._plain, self._all, self._last = _Sums(), _Sums(), None
        return WindowMeans(
            step=last.step,
            steps=sums.count,
            clock="device" if on_device else "host",
            host_ms=sums.means("host"),
            phases_ms=sums.means("device" if on_device else "host"),
            stages_ms=sums.means("stages.forward"),
            backward_ms=sums.means("stages.backward"),
            recompute_ms=sums.means("stages.recompute"),
            losses=sums.means("losses"),
            samples_per_step=None if sums.samples is None else sums.samples / sums.count,
            last=last,
        )


def _add(sums: _Sums, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
    sums.count += 1
    if sums.samples is None or step.samples is None:
        sums.samples = None
    else:
        sums.samples += step.samples
    sums.add("host", step.host_ms)
    if step.device_ms is not None:
        sums.add("device", step.device_ms)
    for record in stages:
        sums.add(f"stages.{record.phase}", record.ms)
    if losses := _losses(step):
        sums.add("losses", losses)


def _losses(step: StepRecord) -> dict[str, float]:
    losses = {} if step.loss is None else {"loss": step.loss}
    bad = {name: float("nan") for name in step.nonfinite if name != "grad_norm"}
    return {**losses, **step.loss_terms, **bad}
