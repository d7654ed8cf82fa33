"""Do the figures that a text log states agree with each other, and do its times hold all of a step?

A rate of samples is held against the times beside it. A difference counts only beyond what rounding
in the printed figure can make.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.run import TEXT_LOG_ONLY, Run

OF_STEP_LINES = "samples/s of the step lines against their step time"
OF_EPOCH_LINES = "samples/s of the epoch lines against their steps and time"
OF_FORWARD = "samples/s against what the forward alone allows"
_DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class RateClaim:
    """A rate as stated, the rate that other figures of the log give, and half a printed digit."""

    name: str
    stated: float
    computed: float
    rounding: float

    @property
    def gap_share(self) -> float:
        """How far the two are apart beyond rounding, as a share of the computed one."""
        gap = abs(self.stated - self.computed) - self.rounding
        return max(0.0, gap / self.computed)


@dataclass(frozen=True, kw_only=True)
class LogClaims:
    """What a text log says about its own times. Times in ms per step; None is unknown.

    `leaves_fetch_out`: its data_time begins after the batch was fetched. `wall_step_ms` is the step
    by the progress lines, `timed_step_ms` what its samples/s count of it; `untimed_ms` is what no
    time of the log holds, `untimed_low_ms` what of it is more than rounding.
    """

    leaves_fetch_out: bool = False
    data_time_ms: float | None = None
    wall_step_ms: float | None = None
    timed_step_ms: float | None = None
    untimed_ms: float | None = None
    untimed_low_ms: float | None = None
    rates: tuple[RateClaim, ...] = ()


def compute_log_claims(run: Run) -> LogClaims:
    """The claims of the run's text log; nothing where facts stand behind the steps."""
    lines = run.tables.log_steps
    if run.evidence != TEXT_LOG_ONLY or not len(lines):
        return LogClaims()
    rate, rounding = _rate_of(lines)
    wall_ms, samples = _wall_step_ms(run), run.info.samples_per_step
    timed = low = high = None
    if rate and samples:
        timed, low, high = (
            1000 * samples / each if each > 0 else None
            for each in (rate, rate + rounding, rate - rounding)
        )
    untimed = None if wall_ms is None or timed is None else max(0.0, wall_ms - timed)
    least = None if wall_ms is None or high is None or low is None else max(0.0, wall_ms - high)
    data_time = lines["data_time_ms"].dropna()
    return LogClaims(
        leaves_fetch_out=run.info.leaves_fetch_out,
        data_time_ms=float(data_time.mean()) if len(data_time) else None,
        wall_step_ms=wall_ms,
        timed_step_ms=timed,
        untimed_ms=untimed,
        untimed_low_ms=least,
        rates=tuple(_rate_claims(run, rate, rounding)),
    )


def _rate_of(lines: pd.DataFrame) -> tuple[float | None, float]:
    stated = lines["samples_per_s"].dropna()
    stated = stated[stated > 0]
    return (float(stated.median()) if len(stated) else None), half_digit(stated.to_numpy())


def half_digit(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """Half of the last digit that the values were printed with."""
    for decimals in range(_DECIMALS):
        if np.allclose(np.round(values, decimals), values, rtol=0, atol=10.0**-9):
            return 0.5 * 10.0**-decimals
    return 0.0


def _wall_step_ms(run: Run) -> float | None:
    """By the progress lines, without those that a validation or a checkpoint lies between."""
    progress = run.tables.progress.dropna(subset=["elapsed_s"]).drop_duplicates("step")
    if len(progress) < 2:
        return None
    steps, elapsed_s = progress["step"].to_numpy(), progress["elapsed_s"].to_numpy()
    spans = run.tables.spans
    interrupting = spans.loc[spans["name"].isin(("validation", "checkpoint")), "step"]
    marked = np.sort(interrupting.to_numpy())
    before, after = (np.searchsorted(marked, each, "left") for each in (steps[:-1], steps[1:]))
    counts, taken_s = np.diff(steps), np.diff(elapsed_s)
    is_clean = (counts > 0) & (taken_s >= 0) & (before == after)
    if not is_clean.any() or taken_s[is_clean].sum() <= 0:
        return None
    return float(1000 * taken_s[is_clean].sum() / counts[is_clean].sum())


def _rate_claims(run: Run, rate: float | None, rounding: float) -> Iterator[RateClaim]:
    lines, samples = run.tables.log_steps, run.info.samples_per_step
    both = lines.dropna(subset=["samples_per_s", "step_time_ms"])
    both = both[(both["step_time_ms"] > 0) & (both["samples_per_s"] > 0)]
    if len(both):
        seconds = both["step_time_ms"].median() / 1000
        stated = float(both["samples_per_s"].median())
        # Without a stated number, a step has at least one sample, and a whole number of them.
        number = samples or max(1, round(stated * seconds))
        yield RateClaim(
            name=OF_STEP_LINES,
            stated=stated,
            computed=float(number / seconds),
            rounding=rounding,
        )
    if samples:
        yield from _of_epochs(run, samples)
        yield from _of_forward(run, rate, rounding)


def _of_epochs(run: Run, samples: int) -> Iterator[RateClaim]:
    """The epoch line that is furthest from what its own steps and time give."""
    events = run.tables.events
    claims = []
    for values in events.loc[events["name"] == "epoch", "values"]:
        steps, time_s, rate = (values.get(key) for key in ("steps", "time_s", "samples_per_s"))
        if steps and time_s and rate and min(steps, time_s, rate) > 0:
            rounding = half_digit(np.array([float(rate)]))
            claims.append(
                RateClaim(
                    name=OF_EPOCH_LINES,
                    stated=float(rate),
                    computed=float(steps) * samples / float(time_s),
                    rounding=rounding,
                )
            )
    if claims:
        yield max(claims, key=lambda each: each.gap_share)


def _of_forward(run: Run, rate: float | None, rounding: float) -> Iterator[RateClaim]:
    """A forward alone allows no higher rate; where each time is of one micro-batch."""
    phases = run.tables.phases
    forward = phases.loc[phases["name"] == "forward", "ms"]
    train = run.info.config.get("TRAIN")
    per_step = train.get("GRADIENT_ACCUMULATION_STEPS") if isinstance(train, dict) else None
    samples = run.info.samples_per_step
    if rate is None or not len(forward) or not run.info.is_unsynchronised or not samples:
        return
    seconds = float(forward.median()) / 1000
    highest = samples / (per_step or 1) / seconds if seconds > 0 else None
    if highest is not None and rate > highest:
        yield RateClaim(name=OF_FORWARD, stated=rate, computed=highest, rounding=rounding)
