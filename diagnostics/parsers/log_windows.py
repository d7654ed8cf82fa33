"""How many steps a line of a text log is the mean of, and which of them it leaves out.

A line holds the mean over the untagged steps since the line before it, or over all of them if each
was tagged. Our log states the tags; of another's, the ones that follow from its lines are known:
its first step, and the step after a validation or a checkpoint.
"""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.parsers.log_lines import MAX_MS
from diagnostics.run import Clock

Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

_PROGRESS_ROW_S = 20
_LONGEST_LONE_WINDOW = 50  # the widest default distance of step lines, the original's


def build_windows(ends: Sequence[int] | Integers, tagged: dict[int, str]) -> pd.DataFrame:
    """One row for each distinct end, by which it is indexed.

    Columns: `num_steps` (steps in the mean), `num_tagged` (left out), `is_tagged` (every step of
    the window is tagged), `tags` (each tagged step's).
    A gap wider than usual means lost lines, not a wider window; the first window is as long as the
    next, because the first step of a resumed run is not stated;
    a lone window is taken to begin at step 1, but for at most 50 steps.

    Args:
        ends: The steps of the lines, in any order.
        tagged: Steps known to be tagged, with the tag. The first step is found here.
    """
    steps = np.unique(np.array(ends, dtype="int64"))
    lengths = _lengths(steps)
    tags = dict(tagged)
    if len(steps):
        tags.setdefault(max(0, int(steps[0] - lengths[0]) + 1), "first")
    marked = np.array(sorted(tags), dtype="int64")
    first_marked = np.searchsorted(marked, steps - lengths, side="right")
    num_tagged = np.searchsorted(marked, steps, side="right") - first_marked
    is_tagged = num_tagged >= lengths
    return pd.DataFrame(
        {
            "num_steps": np.where(is_tagged, lengths, lengths - num_tagged),
            "num_tagged": num_tagged,
            "is_tagged": is_tagged,
            "tags": [
                _joined([tags[int(step)] for step in marked[low : low + count]]) if count else ""
                for low, count in zip(first_marked.tolist(), num_tagged.tolist(), strict=True)
            ],
        },
        index=pd.Index(steps, name="step"),
    )


def _joined(tags: list[str]) -> str:
    return ",".join(each for tag in tags for each in dict.fromkeys(tag.split(",")))


def _lengths(steps: Integers) -> Integers:
    if len(steps) < 2:
        return np.clip(steps, 1, _LONGEST_LONE_WINDOW)
    gaps = np.diff(steps)
    usual = max(1, int(np.median(gaps)))
    first = min(int(steps[0]) or 1, usual)
    return np.concatenate([[first], np.minimum(gaps, usual)])


def tags_after(spans: pd.DataFrame) -> dict[int, str]:
    """The steps that a validation or checkpoint tags: the one after it. By step, the tags."""
    tagging = spans[spans["name"].isin(("validation", "checkpoint"))]
    found: dict[int, dict[str, None]] = {}
    for step, name in zip(tagging["step"], tagging["name"], strict=True):
        found.setdefault(int(step) + 1, {})[str(name)] = None
    return {step: ",".join(names) for step, names in found.items()}


def last_of(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The last row of each key, sorted by rank and step, whatever the order of the lines."""
    kept = rows.drop_duplicates(key, keep="last")
    return sorted_by_step(kept)


def sorted_by_step(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows by step, those of one step in their order."""
    if rows["step"].is_monotonic_increasing:
        return rows.reset_index(drop=True)
    return rows.sort_values("step", kind="stable", ignore_index=True)


def with_windows(rows: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one family of lines with their `num_steps` and `is_tagged` filled in."""
    found = windows.index.get_indexer(pd.Index(rows["step"]))
    return rows.assign(
        num_steps=windows["num_steps"].to_numpy()[found],
        is_tagged=windows["is_tagged"].to_numpy()[found],
    )


def step_line_phases(log_steps: pd.DataFrame, stage_clock: Clock | None) -> pd.DataFrame:
    """What step lines tell about phases: the whole step and the wait for data, both host time.

    The wait is left to the stage lines when they are host time too; without a stated step time it
    is the original trainer's, which leaves the fetch out and is no phase.
    """
    whole = log_steps[log_steps["step_time_ms"].between(0, MAX_MS)]
    parts = [_phase_rows(whole, "step", "step_time_ms")]
    if stage_clock != "host":
        has_wait = whole["data_time_ms"].between(0, MAX_MS)
        parts.append(_phase_rows(whole[has_wait], "data_wait", "data_time_ms"))
    return declared.PHASES.concat(parts)


def progress_phases(progress: pd.DataFrame, tagged: Collection[int]) -> pd.DataFrame:
    """The whole step by the wall clock of the progress lines, where step lines state none.

    Those lines are exact to a second, so a row reaches over at least 20 of them: an error of 5 %.
    A row with a tagged step in it (a validation's, a checkpoint's) is tagged as a whole.
    """
    known = progress[progress["elapsed_s"].between(0, MAX_MS / 1000)]
    known = known.drop_duplicates("step", keep="last")
    length_s = min(_PROGRESS_ROW_S, max(1e-9, known["elapsed_s"].max() / 5)) if len(known) else 1.0
    far = known.groupby((known["elapsed_s"] // length_s).to_numpy()).tail(1)
    steps, elapsed_s = far["step"].to_numpy("int64"), far["elapsed_s"].to_numpy()
    counts, taken_s = np.diff(steps), np.diff(elapsed_s)
    marked = np.array(sorted({1, *tagged}), dtype="int64")
    is_tagged = np.searchsorted(marked, steps[1:], "right") > np.searchsorted(
        marked, steps[:-1], "right"
    )
    is_row = (counts > 0) & (taken_s >= 0)
    size = int(is_row.sum())
    return declared.PHASES.from_columns(
        rank=np.zeros(size, dtype="int64"),
        step=steps[1:][is_row],
        name=pd.Categorical(["step"]).repeat(size),
        clock=pd.Categorical(["host"]).repeat(size),
        ms=taken_s[is_row] / counts[is_row] * 1000,
        num_steps=counts[is_row],
        is_tagged=is_tagged[is_row],
    )


def _phase_rows(log_steps: pd.DataFrame, name: str, column: str) -> pd.DataFrame:
    length = len(log_steps)
    return declared.PHASES.from_columns(
        rank=log_steps["rank"].to_numpy(),
        step=log_steps["step"].to_numpy(),
        name=pd.Categorical([name]).repeat(length),
        clock=pd.Categorical(["host"]).repeat(length),
        ms=log_steps[column].to_numpy(),
        num_steps=np.ones(length, dtype="int64"),
        is_tagged=np.zeros(length, dtype=bool),
    )


def steps_of(log_steps: pd.DataFrame, windows: pd.DataFrame, clock: Clock) -> pd.DataFrame:
    """The table `steps` as far as step lines fill it."""
    found = windows.loc[log_steps["step"]]
    return declared.STEPS.from_columns(
        rank=log_steps["rank"].to_numpy(),
        step=log_steps["step"].to_numpy(),
        num_steps=found["num_steps"].to_numpy(),
        is_tagged=found["is_tagged"].to_numpy(),
        tags=found["tags"].to_numpy(),
        num_tagged=found["num_tagged"].to_numpy(),
        clock=pd.Categorical([clock]).repeat(len(log_steps)),
        loss=log_steps["loss"].to_numpy(),
        lr=log_steps["lr"].to_numpy(),
        grad_norm=log_steps["grad_norm"].to_numpy(),
    )
