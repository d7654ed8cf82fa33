"""One figure of two runs: its change, how sure it is, and whether it can be called one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from diagnostics.analyses.comparison_series import RatioSeries
from diagnostics.analyses.series_mean import (
    LEVEL,
    MeanEstimate,
    adjust_by_holm,
    compare_means,
    estimate_ratio,
)
from diagnostics.language import say
from diagnostics.run import Clock

ChangeKind = Literal["step", "phase", "stage", "resource"]
Outcome = Literal["higher", "lower", "not shown", "no interval", "cannot judge"]
Unit = Literal["ms", "samples/s", "percent", "bytes"]

MIN_ROWS = 5
"""Fewer rows (steps, windows of a log, samples) on a side show nothing: own choice; a profiler's
trace often holds six steps."""

TOO_SHORT = "{count} rows in the {side}; at least {least} are needed"
ONE_SIDED = "not recorded in the {side}"
ONE_VALUE = "one value for each run: how far it scatters between runs is unknown"
BASELINE, THIS_RUN = "baseline", "run"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure before and after; None is not known.

    `direction` is that of a stage (forward, backward, recompute). `low` and `high` bound `change`
    with 95 % confidence, `share` is `change` over `before`. `detectable` is the smallest change
    that these data would have shown in four of five cases. `effective_before` and `effective_after`
    say how many independent rows would tell as much. `p_adjusted` takes into account how many
    figures were tested together. `outcome` is higher or lower only if that is shown.
    """

    kind: ChangeKind
    name: str
    unit: Unit
    direction: str | None = None
    clock: Clock | None = None
    before: float | None = None
    after: float | None = None
    change: float | None = None
    share: float | None = None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    effective_before: float | None = None
    effective_after: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    outcome: Outcome = "cannot judge"
    reason: str | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the data show a change."""
        return self.outcome in ("higher", "lower")

    @property
    def margin(self) -> float | None:
        """Half the width of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def measure_change(
    blank: Change, before: RatioSeries | None, after: RatioSeries | None, num_tests: int = 1
) -> Change:
    """The blank, filled with the change of the means; its outcome waits for `judge_together`."""
    estimates = [_estimate(each) for each in (before, after)]
    filled = _with_values(blank, *(each.value if each else None for each in estimates))
    old, new = estimates
    reason = _why_not(old, new)
    if reason is not None or old is None or new is None:
        return replace(filled, reason=reason)
    found = compare_means(old, new, num_tests)
    return replace(
        filled,
        low=found.low,
        high=found.high,
        detectable=found.detectable,
        effective_before=old.effective_count,
        effective_after=new.effective_count,
        p_value=found.p_value,
    )


def _estimate(series: RatioSeries | None) -> MeanEstimate | None:
    return None if series is None else estimate_ratio(series.top, series.bottom)


def _with_values(blank: Change, before: float | None, after: float | None) -> Change:
    if before is None or after is None:
        return replace(blank, before=before, after=after)
    change = after - before
    share = change / before if before else None
    return replace(blank, before=before, after=after, change=change, share=share)


def _why_not(before: MeanEstimate | None, after: MeanEstimate | None) -> str | None:
    for side, estimate in ((BASELINE, before), (THIS_RUN, after)):
        if estimate is None:
            return say(ONE_SIDED, side=side)
        if estimate.count < MIN_ROWS:
            return say(TOO_SHORT, count=estimate.count, side=side, least=MIN_ROWS)
    return None


def one_value_each(blank: Change, before: float | None, after: float | None) -> Change:
    """The change of a figure that each run has once, such as a peak."""
    filled = _with_values(blank, before, after)
    for side, value in ((BASELINE, before), (THIS_RUN, after)):
        if value is None:
            return replace(filled, reason=say(ONE_SIDED, side=side))
    return replace(filled, outcome="no interval", reason=ONE_VALUE)


def judge_together(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The outcomes of figures that are tested together, in their order."""
    p_values = [each.p_value for each in changes if each.p_value is not None]
    adjusted = iter(adjust_by_holm(p_values))
    return tuple(
        each if each.p_value is None else _judged(each, next(adjusted)) for each in changes
    )


def _judged(change: Change, p_adjusted: float) -> Change:
    is_shown = p_adjusted < LEVEL and bool(change.change)
    direction: Outcome = "higher" if (change.change or 0.0) > 0 else "lower"
    return replace(change, p_adjusted=p_adjusted, outcome=direction if is_shown else "not shown")
