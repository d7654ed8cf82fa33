"""The step lines of a log: whose they are, which steps they mean, in which unit, by which clock."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.language import say
from diagnostics.parsers.line_shapes import STEP
from diagnostics.parsers.line_stamps import stamp_seconds
from diagnostics.parsers.log_bar_steps import with_bar_steps
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.registry import family_named
from diagnostics.parsers.log_tables import with_whole_steps
from diagnostics.parsers.log_units import TIMES, units_of
from diagnostics.parsers.scanned import Integers

OTHERS_LEFT_OUT = "{count} step lines look like those of {family}; they were left out"
RANKS_LEFT_OUT = "{count} step lines are of other ranks than rank {rank}; they were left out"
STEPS_COUNTED = "its step lines name no step: they are counted, 1 for the first"
REPEATED = "{count} step lines repeat a step; the last line of each step was used"
CLOCK_WENT_BACK = "the clock of its lines goes back {count} time(s): what lies across is left out"


@dataclass(frozen=True, kw_only=True)
class StepLines:
    """One row for each step that a line states, by step; times in ms.

    `wall` has the columns step and elapsed_s, by the lines' own time stamps or the progress lines.
    `places` are the lines' numbers in the file, with the step of each. `remarks` say how the lines
    were read, `notes` what was left out.
    """

    rows: pd.DataFrame
    family: LogFamily | None
    wall: pd.DataFrame
    places: pd.DataFrame
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def step_lines_of(lines: pd.DataFrame, progress: pd.DataFrame) -> StepLines:
    """From all step lines of a log, and its progress lines (place, step, elapsed_s)."""
    family = _family_of(lines)
    notes: list[str] = []
    remarks: list[str] = []
    lines = with_bar_steps(_of_family(lines, family, notes), progress, notes, remarks)
    lines = with_whole_steps(_numbered(lines, notes))
    lines = _of_one_rank(lines, notes)
    wall = _wall_of(lines, progress, notes)
    if family is not None and _states_times(lines):
        units = units_of(family, lines, wall_step_ms(wall))
        if family.is_foreign:
            remarks.append(units.sentence)
        names = [name for name in TIMES if name in lines]
        lines = lines.assign(**{name: lines[name] * units.factor for name in names})
    rows = _one_for_each_step(lines, notes)
    return StepLines(
        rows=rows,
        family=family,
        wall=wall,
        places=lines[["place", STEP]].sort_values("place"),
        remarks=tuple(remarks),
        notes=tuple(notes),
    )


def wall_step_ms(wall: pd.DataFrame) -> float | None:
    """A step by the log's own clock: the median over its lines."""
    steps, seconds = wall[STEP].to_numpy("float64"), wall["elapsed_s"].to_numpy("float64")
    counts, taken_s = np.diff(steps), np.diff(seconds)
    known = (counts > 0) & (taken_s >= 0)
    if not known.any():
        return None
    # Of many short windows read to the second most take 0 or 1: the whole tells more.
    each = taken_s[known] / counts[known]
    typical = float(np.median(each))
    whole = float(taken_s[known].sum() / counts[known].sum())
    return 1000.0 * (typical if typical > 0 else whole) or None


def _family_of(lines: pd.DataFrame) -> LogFamily | None:
    counts = lines["family"].value_counts()
    return family_named(str(counts.index[0])) if len(counts) else None


def _of_family(lines: pd.DataFrame, family: LogFamily | None, notes: list[str]) -> pd.DataFrame:
    if family is None:
        return lines
    is_ours = lines["family"] == family.name
    for name, count in lines.loc[~is_ours, "family"].value_counts().items():
        notes.append(say(OTHERS_LEFT_OUT, count=count, family=name))
    return lines[is_ours]


def _numbered(lines: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Steps go on over epochs; lines without any step are counted."""
    if not len(lines):
        return lines
    if "in_epoch" in lines:
        before = (lines["epoch"] - 1).clip(lower=0) * lines["epoch_steps"]
        over_epochs = before + lines["in_epoch"]
        steps = over_epochs.where(lines["in_epoch"].notna(), lines.get(STEP, over_epochs))
        return lines.assign(**{STEP: steps})
    if STEP not in lines or not lines[STEP].ge(0).any():
        notes.append(say(STEPS_COUNTED))
        return lines.assign(**{STEP: np.arange(1.0, len(lines) + 1)})
    return lines


def _of_one_rank(lines: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    is_lowest = lines["rank"] == lines["rank"].min()
    if not is_lowest.all():
        rank = int(lines["rank"].min())
        notes.append(say(RANKS_LEFT_OUT, count=int((~is_lowest).sum()), rank=rank))
    kept: pd.DataFrame = lines[is_lowest]
    return kept


def _wall_of(lines: pd.DataFrame, progress: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Time stamps, or else progress lines; where the clock goes back, a new count begins."""
    seconds = stamp_seconds(lines) if len(lines) else None
    wall = progress[[STEP, "elapsed_s"]].dropna()
    if seconds is not None and np.isfinite(seconds).sum() > 1:
        wall = pd.DataFrame({STEP: lines[STEP].to_numpy(), "elapsed_s": seconds}).dropna()
        wall = wall.assign(elapsed_s=wall["elapsed_s"] - wall["elapsed_s"].min())
        backwards = int((np.diff(wall["elapsed_s"]) < 0).sum())
        if backwards:
            notes.append(say(CLOCK_WENT_BACK, count=backwards))
    kept: pd.DataFrame = wall.drop_duplicates(STEP, keep="last")
    return kept.sort_values(STEP, ignore_index=True)


def _states_times(lines: pd.DataFrame) -> bool:
    return any(name in lines and bool(lines[name].notna().any()) for name in TIMES)


def _one_for_each_step(lines: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Lines of different layouts complete each other; of one layout the last line counts."""
    repeated = int(lines.duplicated([STEP, "layout"]).sum()) if len(lines) else 0
    if repeated:
        notes.append(say(REPEATED, count=repeated))
    if lines["layout"].nunique() <= 1 or not lines.duplicated(STEP).any():
        kept = lines.drop_duplicates(STEP, keep="last")
    else:
        kept = lines.groupby(STEP, as_index=False, sort=False).last()
    return kept.sort_values(STEP, kind="stable", ignore_index=True)


def ends_of(rows: pd.DataFrame, left_out: list[Integers]) -> Integers:
    """The steps of all step lines, also of those that were thinned out."""
    return np.concatenate([rows[STEP].to_numpy("int64"), *left_out])
