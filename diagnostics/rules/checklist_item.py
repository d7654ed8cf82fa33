"""A line of the checklist, what it is filled in from, and how a value is held against its limit."""

from dataclasses import dataclass, replace
from typing import Literal

from diagnostics.analyses.comparison import Comparison
from diagnostics.analyses.loss_trend import LossTrend
from diagnostics.analyses.quality import Quality
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Threshold
from diagnostics.rules.thresholds import OUTCOME_LIMITS, read_thresholds

Group = Literal["function", "performance", "resources"]
Status = Literal["pass", "fail", "not_measured"]
Bound = Literal["at least", "at most", ""]
Name = tuple[str, Group]
LIMITS = read_thresholds(OUTCOME_LIMITS)["checklist"]

ON_CPU = "the run was on the CPU"
AGAINST_BASELINE = "as in the baseline"
OVER_STEPS = "over {count} steps"


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """One line of the checklist.

    `value` and `limit` are in `unit`: ms, share, bytes, percent, db, samples/s, count; the value
    must be at least or at most the limit, as `bound` says. `source` is the file it was read from,
    `note` what the value is of, or why there is none.
    """

    item: str
    group: Group
    status: Status
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    bound: Bound = ""
    source: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChecklistEvidence:
    """What the checklist is filled in from; None or 0: not recorded.

    `baseline_quality` and `comparison` are there with a baseline, `target` if one was asked for.
    `is_ours` is False of a loop or log of another trainer than VRT-Spike's.
    """

    measured: Measurements
    analysis: RunAnalysis
    loss: LossTrend | None
    num_checkpoints: int
    resumed_from: str | None
    comparison: Comparison | None = None
    baseline_quality: Quality | None = None
    target_samples_per_s: float | None = None
    is_ours: bool = True

    def ours_or(self, ours: str, of_others: str) -> str:
        """What to set stands in our own trainer's reports; another's keys are not known."""
        return ours if self.is_ours else of_others


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A value of a line, what it is of and where it was read."""

    value: float
    unit: str
    source: str | None = None
    note: str | None = None


def not_measured(name: Name, note: str, reading: Reading | None = None) -> ChecklistItem:
    """A line without an answer, for the reason in `note`; a value may be known all the same."""
    line = ChecklistItem(item=name[0], group=name[1], status="not_measured", note=note)
    if reading is None:
        return line
    return replace(line, value=reading.value, unit=reading.unit, source=reading.source)


def at_most(name: Name, reading: Reading, limit: Threshold) -> ChecklistItem:
    """Passes up to the limit."""
    return _held(name, reading, limit, "at most", is_kept=reading.value <= limit.value)


def at_least(name: Name, reading: Reading, limit: Threshold) -> ChecklistItem:
    """Passes from the limit on."""
    return _held(name, reading, limit, "at least", is_kept=reading.value >= limit.value)


def _held(
    name: Name, reading: Reading, limit: Threshold, bound: Bound, *, is_kept: bool
) -> ChecklistItem:
    return ChecklistItem(
        item=name[0],
        group=name[1],
        status="pass" if is_kept else "fail",
        value=reading.value,
        unit=reading.unit,
        limit=limit.value,
        bound=bound,
        source=reading.source,
        note=reading.note,
    )
