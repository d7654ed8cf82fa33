"""Where the time of a step goes: phases of the step, stages of the forward, data against compute.

Statistics use ordinary steps only. When every step carries a tag, all are used and the reasons say
so. A step counts as tagged when it is so on any rank, because the other ranks waited for that one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostics.run import Clock

CLOSURE_LIMIT = 0.01
"""Parts may miss their whole by this share before a report must say so."""

FORWARD_OTHER = "forward.other"
STEP = "step"
COMPUTE_PHASES = ("forward", "loss", "backward", "optimizer")
"""The phases in which the model works; `data_wait` and `h2d` are data, `other` is neither."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How a time is spread over steps, in ms; weighted by the steps a row stands for.

    `count` is the number of steps. Quantiles interpolate linearly; for windows of a text log they
    are quantiles of window means.
    """

    count: int
    mean_ms: float
    median_ms: float
    p95_ms: float


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

    `name` is "phases of the step" or "stages of the forward".
    """

    name: str
    clock: Clock
    whole_ms: float
    parts_ms: float
    difference_share: float
    holds: bool
    other_share: float | None


@dataclass(frozen=True, kw_only=True)
class RankTime:
    """One rank's mean step on the host's clock; the shares are of its own step."""

    rank: int
    count: int
    step_mean_ms: float | None
    data_wait_mean_ms: float | None
    data_wait_share: float | None


@dataclass(frozen=True, kw_only=True)
class DataAgainstCompute:
    """Mean times of a step on one clock: waiting for data, copying it, computing, the rest.

    `data_wait_ms` is the host's wait for the next batch; `data_wait_exposed_ms` is the part in
    which the device had nothing to do (by device time; on a CPU equal to the wait). Shares are of
    the step by the same clock. None: not recorded.
    """

    clock: Clock
    step_ms: float
    data_wait_ms: float | None
    data_wait_share: float | None
    data_wait_exposed_ms: float | None
    data_wait_exposed_share: float | None
    h2d_ms: float | None
    h2d_share: float | None
    compute_ms: float | None
    compute_share: float | None
    other_ms: float | None
    other_share: float | None


@dataclass(frozen=True, kw_only=True)
class StepBreakdown:
    """The whole picture of a step.

    `clock` is the one to judge by (device where there is one); `phases` and `stages` hold every
    clock that was recorded, that one first, in order of execution. `step` is the whole step on the
    host's clock, None when not even that is known. `count` steps entered the means, `excluded`
    were left out, by tag in `excluded_by_tag`; `is_tagged_included` is True when only tagged steps
    were there. `is_window_means` is True for a text log. `reasons` says in sentences what was
    left out or could not be known.
    """

    clock: Clock | None
    count: int
    excluded: int
    excluded_by_tag: Mapping[str, int] = field(default_factory=dict)
    is_tagged_included: bool = False
    is_window_means: bool = False
    step: Distribution | None = None
    phases: tuple[PhaseTime, ...] = ()
    stages: tuple[StageTime, ...] = ()
    ranks: tuple[RankTime, ...] = ()
    data_against_compute: DataAgainstCompute | None = None
    closures: tuple[Closure, ...] = ()
    reasons: tuple[str, ...] = ()

    def phase(self, name: str, clock: Clock | None = None) -> PhaseTime | None:
        """The phase by the given clock, by default the one to judge by; None if not recorded."""
        wanted = clock or self.clock
        found = (each for each in self.phases if each.name == name and each.clock == wanted)
        return next(found, None)

    def stage(self, name: str, phase: str = "forward") -> StageTime | None:
        """The stage of the given phase by the clock to judge by; None if not recorded."""
        found = (
            each
            for each in self.stages
            if each.name == name and each.phase == phase and each.clock == self.clock
        )
        return next(found, None)
