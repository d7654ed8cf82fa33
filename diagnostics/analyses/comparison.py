"""Two runs side by side: what changed of the step, its parts and the load, and how surely.

Only ordinary steps count, on both sides. The step, or where the work of a step differs the time for
a sample, is tested by itself; its parts and the resources are tested together by Holm's procedure,
so that dozens of figures show no change by chance. A peak of memory is one value for each run: its
change is stated without an interval.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from diagnostics.analyses.comparison_change import (
    BASELINE,
    THIS_RUN,
    Change,
    judge_together,
    measure_change,
    one_value_each,
)
from diagnostics.analyses.comparison_differences import (
    SAMPLES_PER_STEP,
    Difference,
    find_differences,
)
from diagnostics.analyses.comparison_identity import Identity, compare_identity
from diagnostics.analyses.comparison_neighbours import Neighbours, compare_neighbours
from diagnostics.analyses.comparison_series import (
    RatioSeries,
    StepSeries,
    clocks_of,
    cpu_use_series,
    gpu_use_series,
    is_tagged_throughout,
    rate_series,
    stage_series,
    step_series,
)
from diagnostics.analyses.memory_course import MemoryCourse, MemoryName, compute_memory_courses
from diagnostics.analyses.selection import count_selected
from diagnostics.analyses.step_parts import STEP
from diagnostics.language import listed, say
from diagnostics.run import Clock, Run

REST_NAME = "not in a phase"
REST_SHARE = 1e-4
"""What the phases miss of their step is a part of its own above this share of the step."""

NO_CLOCK = "the two runs have no clock in common: {before} and {after}"
NO_STEPS = "no step was recorded in the {side}"
ALL_TAGGED = "every step of the {side} carries a tag, so none is an ordinary one"

PER_SAMPLE = "time for a sample"
GPU_MEMORY, HOST_MEMORY = "GPU memory, peak", "host memory, peak"
GPU_USE, CPU_USE, RATE = "GPU use", "CPU use", "samples/s"
HOST_WAIT = "wait for data on the host"
_PEAKS: dict[str, tuple[MemoryName, ...]] = {
    GPU_MEMORY: ("device reserved", "GPU used"),
    HOST_MEMORY: ("process tree PSS", "process tree RSS", "rank process RSS"),
}

Pair = tuple[RatioSeries | None, RatioSeries | None]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two runs. `count` ordinary steps were used, `excluded` left out."""

    run_id: str | None
    source: str | None
    evidence: str
    count: int
    excluded: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run against its baseline.

    `per_sample` is the change of the time for one sample where the work of a step differs or its
    time is unknown; else None. `changes` holds phases, stages and resources, of
    which `num_tests` were tested together. `unexplained_ms` is what the changes of the phases miss
    of the step's. `is_judged` is False where the step could not be compared, for `reasons`.
    `identity` and `neighbours` say what else than the training may be behind a change.
    """

    before: Side
    after: Side
    clock: Clock | None
    step: Change
    per_sample: Change | None
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    num_tests: int
    unexplained_ms: float | None
    is_judged: bool
    identity: Identity
    neighbours: Neighbours
    reasons: tuple[str, ...] = ()

    @property
    def headline(self) -> Change:
        """The change that decides: the step's, or a sample's in its place."""
        return self.per_sample or self.step

    @property
    def is_like_with_like(self) -> bool:
        """Whether machine, software and measurement are the same as far as both tell."""
        return not any(each.is_unlike for each in self.differences)

    def resource(self, name: str) -> Change | None:
        """The change of a resource by its name; None where neither run has it."""
        found = (each for each in self.changes if each.kind == "resource" and each.name == name)
        return next(found, None)


def compare_runs(before: Run, after: Run) -> Comparison:
    """The change from `before`, the baseline, to `after`; opens no file."""
    clock = next((each for each in clocks_of(before) if each in clocks_of(after)), None)
    reasons = tuple(_why_not(before, after, clock))
    differences = find_differences(before, after)
    step, parts, steps = _empty_step(clock, reasons), dict[Change, Pair](), None
    if clock is not None and not reasons:
        steps = step_series(before, clock), step_series(after, clock)
        step = judge_together([measure_change(step, _whole(steps[0]), _whole(steps[1]))])[0]
        parts = _phases(steps, clock)
        parts |= _stages(stage_series(before, clock), stage_series(after, clock), clock)
    rates = rate_series(before), rate_series(after)
    parts |= _resources(before, after, clock, rates)
    changes = _tested(parts)
    per_sample = _per_sample(rates, step, differences)
    return Comparison(
        before=_side(before),
        after=_side(after),
        clock=clock,
        step=step,
        per_sample=per_sample,
        changes=(*changes, *_peaks(before, after)),
        differences=differences,
        num_tests=sum(each.p_value is not None for each in changes),
        unexplained_ms=_unexplained_ms(step, changes),
        is_judged=(per_sample or step).p_value is not None,
        identity=compare_identity(before, after, differences),
        neighbours=compare_neighbours(before, after, steps),
        reasons=reasons or ((step.reason,) if step.reason else ()),
    )


def _side(run: Run) -> Side:
    counted = count_selected(run.tables.steps)
    return Side(
        run_id=run.info.run_id,
        source=str(run.inputs[0].path) if run.inputs else None,
        evidence=run.evidence,
        count=counted.count,
        excluded=counted.excluded,
    )


def _why_not(before: Run, after: Run, clock: Clock | None) -> Iterator[str]:
    both_have_steps = True
    for side, run in ((BASELINE, before), (THIS_RUN, after)):
        if not len(run.tables.phases):
            both_have_steps = False
            yield say(NO_STEPS, side=side)
        elif is_tagged_throughout(run):
            yield say(ALL_TAGGED, side=side)
    if clock is None and both_have_steps:
        names = [listed(clocks_of(run)) for run in (before, after)]
        yield say(NO_CLOCK, before=names[0], after=names[1])


def _empty_step(clock: Clock | None, reasons: Sequence[str]) -> Change:
    reason = listed(reasons, "; ") if reasons else None
    return Change(kind="step", name=STEP, unit="ms", clock=clock, reason=reason)


def _whole(steps: StepSeries) -> RatioSeries:
    return RatioSeries(top=steps.whole_ms * steps.weights, bottom=steps.weights)


def _phases(steps: tuple[StepSeries, StepSeries], clock: Clock) -> dict[Change, Pair]:
    """The phases of either run; one that a run does not have took it no time."""
    names = dict.fromkeys(str(name) for each in steps for name in each.parts_ms.columns)
    parts: dict[Change, Pair] = {}
    for name in names:
        blank = Change(kind="phase", name=name, unit="ms", clock=clock)
        parts[blank] = _phase(steps[0], name), _phase(steps[1], name)
    if any(_rest_share(each) > REST_SHARE for each in steps):
        blank = Change(kind="phase", name=REST_NAME, unit="ms", clock=clock)
        parts[blank] = _rest(steps[0]), _rest(steps[1])
    return parts


def _phase(steps: StepSeries, name: str) -> RatioSeries:
    if name not in steps.parts_ms.columns:
        return RatioSeries(top=steps.weights * 0.0, bottom=steps.weights)
    values = steps.parts_ms[name].to_numpy(dtype="float64")
    return RatioSeries(top=values * steps.weights, bottom=steps.weights)


def _rest(steps: StepSeries) -> RatioSeries:
    rest = steps.whole_ms - steps.parts_ms.sum(axis=1).to_numpy(dtype="float64")
    return RatioSeries(top=rest * steps.weights, bottom=steps.weights)


def _rest_share(steps: StepSeries) -> float:
    whole = float((steps.whole_ms * steps.weights).sum())
    return abs(float(_rest(steps).top.sum())) / whole if whole > 0 else 0.0


def _stages(
    before: Mapping[tuple[str, str], RatioSeries],
    after: Mapping[tuple[str, str], RatioSeries],
    clock: Clock,
) -> dict[Change, Pair]:
    """The stages of either run, where both timed stages in that direction at all."""
    directions = {phase for _, phase in before} & {phase for _, phase in after}
    parts: dict[Change, Pair] = {}
    for name, phase in dict.fromkeys((*before, *after)):
        if phase in directions:
            blank = Change(kind="stage", name=name, direction=phase, unit="ms", clock=clock)
            parts[blank] = before.get((name, phase)), after.get((name, phase))
    return parts


def _resources(before: Run, after: Run, clock: Clock | None, rates: Pair) -> dict[Change, Pair]:
    """What either run recorded of throughput, load and the host's wait."""
    named: dict[Change, Pair] = {
        Change(kind="resource", name=RATE, unit="samples/s"): rates,
        Change(kind="resource", name=GPU_USE, unit="percent"): (
            gpu_use_series(before),
            gpu_use_series(after),
        ),
        Change(kind="resource", name=CPU_USE, unit="percent"): (
            cpu_use_series(before),
            cpu_use_series(after),
        ),
    }
    if clock == "device":
        blank = Change(kind="resource", name=HOST_WAIT, unit="ms", clock="host")
        named[blank] = _host_wait(before), _host_wait(after)
    return {blank: pair for blank, pair in named.items() if any(pair)}


def _host_wait(run: Run) -> RatioSeries | None:
    if "host" not in clocks_of(run):
        return None
    steps = step_series(run, "host")
    return _phase(steps, "data_wait") if "data_wait" in steps.parts_ms.columns else None


def _tested(parts: Mapping[Change, Pair]) -> tuple[Change, ...]:
    return judge_together(
        [measure_change(blank, *pair, num_tests=len(parts)) for blank, pair in parts.items()]
    )


def _per_sample(rates: Pair, step: Change, differences: Sequence[Difference]) -> Change | None:
    """Where the step cannot be compared: its work differs, or a log states samples/s alone."""
    before, after = rates
    differs = any(each.name == SAMPLES_PER_STEP for each in differences)
    if before is None or after is None or not (differs or step.before is None):
        return None
    blank = Change(kind="step", name=PER_SAMPLE, unit="ms", clock="host")
    return judge_together([measure_change(blank, _inverse_ms(before), _inverse_ms(after))])[0]


def _inverse_ms(rate: RatioSeries) -> RatioSeries:
    return RatioSeries(top=rate.bottom * 1000, bottom=rate.top)


def _peaks(before: Run, after: Run) -> Iterator[Change]:
    """Of the first kind of memory that both runs have; of either's where they share none."""
    courses = compute_memory_courses(before), compute_memory_courses(after)
    for label, names in _PEAKS.items():
        peaks = [{name: _peak(each, name) for name in names} for each in courses]
        shared = [name for name in names if all(each[name] is not None for each in peaks)]
        known = shared or [name for name in names if any(each[name] for each in peaks)]
        if known:
            blank = Change(kind="resource", name=label, unit="bytes")
            yield one_value_each(blank, peaks[0][known[0]], peaks[1][known[0]])


def _peak(courses: Sequence[MemoryCourse], name: MemoryName) -> float | None:
    """The highest of any rank or machine."""
    return max((each.peak_bytes for each in courses if each.name == name), default=None)


def _unexplained_ms(step: Change, changes: Sequence[Change]) -> float | None:
    explained = [each.change for each in changes if each.kind == "phase"]
    if step.change is None or not explained or None in explained:
        return None
    return step.change - sum(each for each in explained if each is not None)
