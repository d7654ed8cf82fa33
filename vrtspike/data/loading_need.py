"""What loading has to keep up with: the price of a sample, the time of a step. No PyTorch.

A loading process makes one sample after the other, so what counts is how long one takes there
(`made_ms`); what it costs the machine's cores is `cpu_ms`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BUSY_SHARE = 0.8
"""So busy may loading processes be: with none to spare, each late sample makes a step wait."""
MIN_PREFETCH = 2
"""PyTorch's own choice; with one batch ahead a process would stand still at each hand-over."""


@dataclass(frozen=True, kw_only=True)
class SampleCost:
    """The price of one training sample, none of it from a cache.

    `part_ms` sums to `made_ms`. `slowest_ms` is the longest of the `samples` that were timed, and
    `spent_ms` what the timing itself took.
    """

    samples: int
    made_ms: float
    cpu_ms: float
    slowest_ms: float
    part_ms: Mapping[str, float]
    spent_ms: float

    def cached_ms(self) -> float:
        """The same where a cache has the sample's frames: what is neither read nor decoded."""
        return self.made_ms - self.part_ms.get("read", 0.0) - self.part_ms.get("decode", 0.0)


@dataclass(frozen=True, kw_only=True)
class TimedSample:
    """One sample; `part_ms` sums to the time it took."""

    part_ms: Mapping[str, float]
    cpu_ms: float

    @property
    def made_ms(self) -> float:
        """The whole time."""
        return sum(self.part_ms.values())


def typical_cost(timed: Sequence[TimedSample], spent_ms: float) -> SampleCost:
    """The mean of the middle half, by time: one sample that had to wait decides nothing.

    Args:
        timed: At least one.
        spent_ms: What the timing took.
    """
    ordered = sorted(timed, key=lambda each: each.made_ms)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    names = dict.fromkeys(name for each in middle for name in each.part_ms)
    part_ms = {
        name: sum(each.part_ms.get(name, 0.0) for each in middle) / len(middle) for name in names
    }
    return SampleCost(
        samples=len(timed),
        made_ms=sum(part_ms.values()),
        cpu_ms=sum(each.cpu_ms for each in middle) / len(middle),
        slowest_ms=ordered[-1].made_ms,
        part_ms=part_ms,
        spent_ms=spent_ms,
    )


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """An optimizer step without its wait for data, and where that was measured."""

    ms: float
    source: str


@dataclass(frozen=True, kw_only=True)
class LoadingNeed:
    """What is known about one rank's loading before it starts.

    `samples_per_step` counts the clips of an optimizer step of one rank, `batch_size` those of a
    batch. Where cost or step are None, `cost_unknown` and `step_unknown` say why.
    """

    samples_per_step: int
    batch_size: int
    cost: SampleCost | None = None
    cost_unknown: str = "no sample was timed"
    step: StepTime | None = None
    step_unknown: str = "no step time is known"

    @property
    def workers(self) -> int | None:
        """Processes of one rank that keep up with its steps; None where that is not known."""
        if self.cost is None or self.step is None or self.step.ms <= 0:
            return None
        busy = self.cost.made_ms * self.samples_per_step / self.step.ms
        return max(1, math.ceil(busy / BUSY_SHARE))

    def prefetch(self, workers: int) -> int | None:
        """Batches that each of `workers` processes should have ready.

        Together they last while one process is at the slowest batch (Little: outstanding is rate
        times latency), and the batch that is due is there as well.
        """
        if self.cost is None or self.step is None or self.step.ms <= 0 or workers < 1:
            return None
        batch_ms = self.step.ms * self.batch_size / self.samples_per_step
        outstanding = math.ceil(self.cost.slowest_ms * self.batch_size / batch_ms) + 1
        return max(MIN_PREFETCH, math.ceil(outstanding / workers))

    def fed_ms(self, workers: int, cores: float) -> float | None:
        """The shortest step that `workers` processes keep up with, without any to spare.

        However many they are, what they compute has to be done by the `cores` of their rank.
        """
        if self.cost is None:
            return None
        by_workers, by_cores = self.cost.made_ms / max(1, workers), self.cost.cpu_ms / cores
        return max(by_workers, by_cores) * self.samples_per_step

    def reason_unknown(self) -> str | None:
        """Why the processes that are needed are not known; None where they are."""
        if self.cost is None:
            return self.cost_unknown
        return self.step_unknown if self.workers is None else None
