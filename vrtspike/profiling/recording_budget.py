"""Holds the recorder to a share of the step: above it, stages are timed in fewer steps."""

from collections.abc import Sequence
from statistics import median

from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.parts import PartHost, RecorderPart, StepFields
from vrtspike.profiling.records import StagesRecord, StepRecord

WINDOW_STEPS = 24
"""Ordinary steps that one judgement looks at; their medians are not moved by a single slow one."""

MIN_OBSERVED_STEPS = 3
MAX_EVERY_STEPS = 64
"""Rarer than this, a run of ordinary length has too few timed steps for a mean."""

_WIDEN_BELOW = 0.7
"""Stages are timed more often again only when the cost would be this far below the budget: the
cost of a step scatters by some tenths, and the two must not take turns."""


class RecordingBudget(RecorderPart):
    """Measures what the recorder costs a step, and thins it out above a budget.

    Thinning leaves the phases of every step and times the stages in every nth step only; n doubles
    until the cost lies within the budget. Steps in between have no record of stages. Each change
    is an event `recording_thinned`; what thinning cannot reach, an event `recording_over_budget`.

    Args:
        cost: What the recorder has spent.
        budget_share: Of a step's host time, 0..1; None never thins.
    """

    def __init__(self, cost: OwnCost, budget_share: float | None) -> None:
        self.every_steps = 1
        self._cost = cost
        self._budget_share = budget_share
        self._host: PartHost | None = None
        self._said_over = False
        self._forget()

    def start(self, host: PartHost) -> None:
        """What came before the first step is no cost of a step."""
        self._host = host
        self._cost.take_ms()

    def observes(self, step: int) -> bool:
        """Whether stages are timed in this step."""
        return step % self.every_steps == 0

    def step_ends(self, step: int) -> StepFields:
        """What the recorder spent since the end of the last step."""
        spent_ms = self._cost.take_ms()
        return {"recorder_ms": lambda: spent_ms}

    def on_step(self, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
        """Hears of a step; tagged ones do not count."""
        if self._budget_share is None or step.tags or step.recorder_ms is None:
            return
        (self._observed_ms if stages else self._unobserved_ms).append(step.recorder_ms)
        self._steps_ms.append(step.host_ms["step"])
        if self._window_is_full():
            self._judge(self._budget_share)
            self._forget()

    def close(self) -> None:
        """Nothing is held open."""

    def _forget(self) -> None:
        self._observed_ms: list[float] = []
        self._unobserved_ms: list[float] = []
        self._steps_ms: list[float] = []

    def _window_is_full(self) -> bool:
        if len(self._steps_ms) < WINDOW_STEPS:
            return False
        enough = len(self._observed_ms) >= MIN_OBSERVED_STEPS
        # Of a model without stages no step is ever observed.
        return enough or len(self._steps_ms) >= MIN_OBSERVED_STEPS * MAX_EVERY_STEPS

    def _judge(self, budget_share: float) -> None:
        step_ms = median(self._steps_ms)
        if step_ms <= 0:
            return
        share = self._mean_ms(self.every_steps) / step_ms
        if share > budget_share:
            self._thin(share, budget_share)
        elif self.every_steps > 1 and self._unobserved_ms:
            wider = self._mean_ms(self.every_steps // 2) / step_ms
            if wider <= _WIDEN_BELOW * budget_share:
                self._change(self.every_steps // 2, share, budget_share)

    def _thin(self, share: float, budget_share: float) -> None:
        if self._observed_ms and self.every_steps < MAX_EVERY_STEPS:
            self._change(2 * self.every_steps, share, budget_share)
        elif not self._said_over and self._host is not None:
            self._said_over = True
            self._host.event(
                "recording_over_budget", cost_share=round(share, 5), budget_share=budget_share
            )

    def _change(self, every_steps: int, share: float, budget_share: float) -> None:
        self.every_steps = every_steps
        if self._host is not None:
            self._host.event(
                "recording_thinned",
                every_steps=every_steps,
                cost_share=round(share, 5),
                budget_share=budget_share,
            )

    def _mean_ms(self, every_steps: int) -> float:
        """The cost of a step if one in `every_steps` were observed."""
        plain_ms = median(self._unobserved_ms or self._observed_ms)
        if not self._observed_ms:
            return plain_ms
        return (median(self._observed_ms) + (every_steps - 1) * plain_ms) / every_steps
