"""What of a comparison makes a build fail: a run that became slower, larger or worse.

A regression is graded like a finding. Its thresholds are shares of the baseline; the time must
also be shown by the data, so that noise alone fails no build. Where neighbours differ, it must be
more than they add to processor time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from diagnostics.analyses.comparison import GPU_MEMORY, HOST_MEMORY, Comparison
from diagnostics.analyses.comparison_change import Change
from diagnostics.analyses.quality import Quality
from diagnostics.language import say
from diagnostics.rules.comparison_doubts import crowded_side, surely_slower_share
from diagnostics.rules.finding import Severity, Value
from diagnostics.rules.rule import Threshold, graded
from diagnostics.rules.thresholds import OUTCOME_LIMITS, read_thresholds

LIMITS = read_thresholds(OUTCOME_LIMITS)["regression"]

SLOWER = "{name} takes {share:.1%} longer: {after:.2f} instead of {before:.2f} ms."
SLOWER_BESIDE_OTHERS = (
    "{name} takes {share:.1%} longer: {after:.2f} instead of {before:.2f} ms; the neighbours of "
    "this run may be all of the reason."
)
SURELY_SLOWER = (
    "{name} takes {share:.1%} longer: {after:.2f} instead of {before:.2f} ms. By its processor "
    "time it would be at least {sure:.1%} longer without the neighbours of this run."
)
LARGER = "{name} is {share:.1%} higher: {after_gib:.2f} instead of {before_gib:.2f} GiB."
WORSE = "PSNR after step {step} is {drop:.2f} dB lower: {after:.2f} instead of {before:.2f} dB."
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Regression:
    """One thing that became worse than in the baseline.

    `summary` is the template filled with `values`. `limit` is the threshold that it reached.
    """

    name: str
    severity: Severity
    summary: str
    values: Mapping[str, Value] = field(default_factory=dict)
    limit: Threshold


def find_regressions(
    comparison: Comparison, before: Quality, after: Quality
) -> tuple[Regression, ...]:
    """What became worse, the most severe first."""
    found = [*_time(comparison), *_memory(comparison), *_quality(before, after)]
    return tuple(sorted(found, key=lambda each: -int(each.severity)))


def _time(comparison: Comparison) -> Iterator[Regression]:
    change = comparison.headline
    if change.outcome != "higher" or change.share is None:
        return
    levels = (
        (LIMITS["at_note"], Severity.NOTE),
        (LIMITS["at_warn"], Severity.WARN),
        (LIMITS["at_critical"], Severity.CRITICAL),
    )
    values = _values(change)
    if crowded_side(comparison) != "run":
        yield from _graded(change.name, change.share, levels, SLOWER, values)
        return
    sure = min(surely_slower_share(comparison) or 0.0, change.share)
    if graded(sure, *levels) is None:
        yield from _graded(change.name, change.share, levels[:1], SLOWER_BESIDE_OTHERS, values)
    else:
        yield from _graded(change.name, sure, levels, SURELY_SLOWER, values | {"sure": sure})


def _memory(comparison: Comparison) -> Iterator[Regression]:
    levels = (
        (LIMITS["memory_at_warn"], Severity.WARN),
        (LIMITS["memory_at_critical"], Severity.CRITICAL),
    )
    for name in (GPU_MEMORY, HOST_MEMORY):
        change = comparison.resource(name)
        if change is None or change.before is None or change.after is None:
            continue
        sizes = {"before_gib": change.before / GIB, "after_gib": change.after / GIB}
        if change.share is not None:
            yield from _graded(name, change.share, levels, LARGER, _values(change) | sizes)


def _quality(before: Quality, after: Quality) -> Iterator[Regression]:
    """At the last step that both runs validated: another number of steps is another training."""
    known = {each.step: each.psnr_rgb_db for each in before.points}
    shared = [
        (each.step, known[each.step], each.psnr_rgb_db)
        for each in after.points
        if known.get(each.step) is not None and each.psnr_rgb_db is not None
    ]
    if not shared:
        return
    step, old, new = shared[-1]
    drop = (old or 0.0) - (new or 0.0)
    levels = (
        (LIMITS["quality_at_warn"], Severity.WARN),
        (LIMITS["quality_at_critical"], Severity.CRITICAL),
    )
    values: dict[str, Value] = {"step": step, "before": old, "after": new, "drop": drop}
    yield from _graded("quality", drop, levels, WORSE, values)


def _values(change: Change) -> dict[str, Value]:
    return {
        "name": change.name,
        "before": change.before,
        "after": change.after,
        "share": change.share,
    }


def _graded(
    name: str,
    value: float,
    levels: tuple[tuple[Threshold, Severity], ...],
    template: str,
    values: Mapping[str, Value],
) -> Iterator[Regression]:
    severity = graded(value, *levels)
    if severity is None:
        return
    limit = next(limit for limit, grade in levels if grade is severity)
    yield Regression(
        name=name,
        severity=severity,
        summary=say(template, **values),
        values=values,
        limit=limit,
    )
