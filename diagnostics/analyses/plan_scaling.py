"""How much longer a step's parts take with another work, from the parts of a measured step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.plan_work import StageWork, StepWork

HALF_PRECISION_GAIN = 2.0
"""Mixed precision moves half the bytes; that is the most it is taken to gain before measured."""

MIN_STAGES = 4
"""Fewer cannot tell three parts of a mixture apart."""

_SUBSETS = ((0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,))

StageTimes = dict[tuple[str, str], float]
"""Milliseconds of a step by stage and direction."""

Range = tuple[float, float, float]
"""Factors: least, likely, most."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Time of a stage in ms: so much for each FLOP, each byte and each block; any may be 0."""

    per_flop: float
    per_byte: float
    per_block: float

    def of(self, work: StageWork) -> float:
        """The time of a stage with that work."""
        return sum(self.parts_of(work))

    def parts_of(self, work: StageWork) -> tuple[float, float, float]:
        """What of it goes with FLOPs, with bytes and with blocks."""
        return (
            self.per_flop * work.flops,
            self.per_byte * work.kept_bytes,
            self.per_block * work.blocks,
        )


def fit_mixture(times: StageTimes, run: StepWork) -> Mixture | None:
    """Which mixture explains the stages' times; None where too few stages were timed.

    Non-negative least squares, each stage weighted by one over the root of its time: the best
    solution without a negative part is the plain one of some subset of the three.
    """
    works = {each.name: each for each in run.stages}
    totals: dict[str, float] = {}
    for (name, _), ms in times.items():
        if name in works:
            totals[name] = totals.get(name, 0.0) + ms
    if len(totals) < MIN_STAGES or min(totals.values()) <= 0:
        return None
    measured_ms = np.array(list(totals.values()))
    unit = Mixture(per_flop=1.0, per_byte=1.0, per_block=1.0)
    columns = np.array([unit.parts_of(works[name]) for name in totals]) * run.micro_batches
    found = [_solved(columns, measured_ms, used) for used in _SUBSETS]
    _, rates = min((each for each in found if min(each[1]) >= 0), key=lambda each: each[0])
    return Mixture(per_flop=rates[0], per_byte=rates[1], per_block=rates[2])


def _solved(columns: Floats, ms: Floats, used: Sequence[int]) -> tuple[float, list[float]]:
    """Weighted error and rates, with the columns that are used."""
    weights = 1 / np.sqrt(ms)
    # Of like size, or FLOPs would drown blocks.
    sizes = np.maximum(columns.max(axis=0), 1e-300)
    chosen = (columns / sizes)[:, list(used)] * weights[:, None]
    solution, *_ = np.linalg.lstsq(chosen, ms * weights, rcond=None)
    error = float(np.square(chosen @ solution - ms * weights).sum())
    rates = [0.0, 0.0, 0.0]
    for place, value in zip(used, solution, strict=True):
        rates[place] = float(value / sizes[place])
    return error, rates


def shares_of(
    times: StageTimes, run: StepWork, mixture: Mixture | None
) -> tuple[float, float, float] | None:
    """What of the timed stages' time goes with FLOPs, bytes and blocks, by the mixture."""
    if mixture is None:
        return None
    known = {name for name, _ in times}
    parts = np.array([mixture.parts_of(each) for each in run.stages if each.name in known])
    sums = parts.sum(axis=0)
    whole = float(sums.sum())
    if whole <= 0:
        return None
    return float(sums[0]) / whole, float(sums[1]) / whole, float(sums[2]) / whole


def same(factor: float) -> Range:
    """A factor that there is only one of."""
    return factor, factor, factor


def wait_factors(factor: float) -> Range:
    """A loader that works beside the step may keep up or not: from no wait to twice its work."""
    return 0.0, factor, 2 * factor


def network_factors(
    stages: StageTimes,
    directions: tuple[str, ...],
    run: StepWork,
    plan: StepWork,
    mixture: Mixture | None,
) -> Range | None:
    """How much longer forward or backward take, from their stages; None without any."""
    timed = {(name, phase): ms for (name, phase), ms in stages.items() if phase in directions}
    whole = sum(timed.values())
    if whole <= 0:
        return None
    passes = plan.micro_batches / run.micro_batches
    before = {each.name: each for each in run.stages}
    after = {each.name: each for each in plan.stages}
    sums = [0.0, 0.0, 0.0]
    for (name, _), ms in timed.items():
        found = _stage_factors(before.get(name), after.get(name), mixture)
        if found is None:
            found = same(plan.pixels / run.pixels)
        for place in range(3):
            sums[place] += ms * passes * found[place]
    return _with_precision((sums[0] / whole, sums[1] / whole, sums[2] / whole), run, plan)


def _stage_factors(
    before: StageWork | None, after: StageWork | None, mixture: Mixture | None
) -> Range | None:
    """None for what is outside the stages; 0 for a stage that the plan does not have."""
    if before is None:
        return None
    if after is None:
        return same(0.0)
    by_flops = _ratio(after.flops, before.flops)
    by_bytes = _ratio(after.kept_bytes, before.kept_bytes)
    mixed = (by_flops * by_bytes) ** 0.5
    if mixture is not None and mixture.of(before) > 0:
        mixed = mixture.of(after) / mixture.of(before)
    every = (by_flops, by_bytes, mixed)
    return min(every), mixed, max(every)


def _ratio(after: float, before: float) -> float:
    return after / before if before > 0 else 1.0


def whole_factors(run: StepWork, plan: StepWork) -> Range:
    """Forward and backward as wholes, where no stage was timed."""
    totals = [
        StageWork(
            name="",
            flops=sum(each.flops for each in work.stages),
            kept_bytes=sum(each.kept_bytes for each in work.stages),
            blocks=sum(each.blocks for each in work.stages),
        )
        for work in (run, plan)
    ]
    passes = plan.micro_batches / run.micro_batches
    found = _stage_factors(totals[0], totals[1], None) or same(1.0)
    low, mid, high = (passes * factor for factor in found)
    return _with_precision((low, mid, high), run, plan)


def _with_precision(factors: Range, run: StepWork, plan: StepWork) -> Range:
    """Of a plan in the precision that the run did not have: between no change and the most."""
    low, mid, high = factors
    if run.is_half == plan.is_half:
        return factors
    if plan.is_half:
        return low / HALF_PRECISION_GAIN, mid / HALF_PRECISION_GAIN**0.5, high
    return low, mid * HALF_PRECISION_GAIN**0.5, high * HALF_PRECISION_GAIN
