"""What of a comparison makes a build fail: a run that became slower, larger or worse.

A regression is graded like a finding. Its thresholds are shares of the baseline; the time must
also be shown by the data, so that noise alone fails no build.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from diagnostics.analyses.comparison import GPU_MEMORY, HOST_MEMORY, Comparison
from diagnostics.analyses.comparison_change import Change
from diagnostics.analyses.quality import Quality
from diagnostics.rules.finding import Severity, Value
from diagnostics.rules.rule import Threshold, graded

AT_NOTE = Threshold(
    0.05,
    "share of the baseline",
    "smaller changes of a step are seldom worth a look",
    "XProf (5 %)",
)
AT_WARN = Threshold(0.10, "share of the baseline", "beyond what runs scatter", "gpuprof (> 10 %)")
AT_CRITICAL = Threshold(0.25, "share of the baseline", "a fault, no drift", "gpuprof (high > 25 %)")
MEMORY_AT_WARN = Threshold(
    0.10,
    "share of the baseline",
    "a peak is one value for each run, so that only a clear rise counts",
    "own choice, as for the time",
)
MEMORY_AT_CRITICAL = Threshold(
    0.25, "share of the baseline", "a machine that was half full may no longer do", "own choice"
)
QUALITY_AT_WARN = Threshold(
    0.3, "dB", "what the conservative plan may cost", "the performance guide (< 0.3 dB)"
)
QUALITY_AT_CRITICAL = Threshold(
    1.0, "dB", "the most that the aggressive plan may cost", "the performance guide (0.5-1.0 dB)"
)

SLOWER = "{name} takes {share:.1%} longer: {after:.2f} instead of {before:.2f} ms."
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
    found = [*_time(comparison.headline), *_memory(comparison), *_quality(before, after)]
    return tuple(sorted(found, key=lambda each: -int(each.severity)))


def _time(change: Change) -> Iterator[Regression]:
    if change.outcome != "higher" or change.share is None:
        return
    levels = ((AT_NOTE, Severity.NOTE), (AT_WARN, Severity.WARN), (AT_CRITICAL, Severity.CRITICAL))
    yield from _graded(change.name, change.share, levels, SLOWER, _values(change))


def _memory(comparison: Comparison) -> Iterator[Regression]:
    levels = ((MEMORY_AT_WARN, Severity.WARN), (MEMORY_AT_CRITICAL, Severity.CRITICAL))
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
    levels = ((QUALITY_AT_WARN, Severity.WARN), (QUALITY_AT_CRITICAL, Severity.CRITICAL))
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
        summary=template.format(**values),
        values=values,
        limit=limit,
    )
