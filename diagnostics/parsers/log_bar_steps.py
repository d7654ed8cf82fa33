"""Lines without a step, which belong to the progress bar before them: Hugging Face's losses.

Loading a checkpoint and evaluating draw bars of their own, and a program whose standard output is
buffered writes its losses late, or all at once: only the bar of the training counts, and the epochs
that the lines state tell the steps of those that the bar does not tell apart.
"""

import numpy as np
import pandas as pd

from diagnostics.language import say
from diagnostics.parsers.line_shapes import STEP, Floats
from diagnostics.parsers.scanned import NO_STEP

EPOCH = "epoch"
BY_EPOCH = "the steps of {count} lines that the progress bar does not tell apart are by their epoch"
BEFORE_ALL = "{count} step lines stand before the first step that the log names; they were left out"


def with_bar_steps(
    lines: pd.DataFrame, bar: pd.DataFrame, notes: list[str], remarks: list[str]
) -> pd.DataFrame:
    """The lines with their steps; those without any are left out, which `notes` say.

    Args:
        lines: In the order of the file, with `place` and `step`; `epoch` where they state one.
        bar: The lines of the training's bar, with `place` and `step`.
        notes: What is left out is added to them.
        remarks: How steps were found is added to them.
    """
    if EPOCH not in lines or "in_epoch" in lines or not len(bar):
        return lines
    steps = _last_step_before(lines["place"].to_numpy(), bar)
    by_epoch = _by_epoch(steps, lines[EPOCH].to_numpy("float64"))
    is_moved = np.isfinite(by_epoch)
    if is_moved.any():
        remarks.append(say(BY_EPOCH, count=int(is_moved.sum())))
    steps = np.where(is_moved, by_epoch, steps)
    placed = lines.assign(**{STEP: steps})
    is_lost = steps == NO_STEP
    if is_lost.all():  # they are counted, as where there is no bar
        return placed
    if is_lost.any():
        notes.append(say(BEFORE_ALL, count=int(is_lost.sum())))
    kept: pd.DataFrame = placed[~is_lost]
    return kept


def _last_step_before(places: Floats, bar: pd.DataFrame) -> Floats:
    in_order = bar.sort_values("place")
    found = np.searchsorted(in_order["place"].to_numpy(), places, side="right") - 1
    steps = in_order[STEP].to_numpy("float64")
    return np.where(found >= 0, steps[np.maximum(found, 0)], float(NO_STEP))


def _by_epoch(steps: Floats, epochs: Floats) -> Floats:
    """Steps of lines that have none, or share one with a later line; NaN for all others.

    The last line's step and epoch say how many steps an epoch has.
    """
    nothing = np.full(len(steps), np.nan)
    if not len(steps) or not steps[-1] > 0 or not epochs[-1] > 0:
        return nothing
    shares = np.append(steps[:-1] == steps[1:], False)
    wanted = (steps == NO_STEP) | (shares & np.append(epochs[:-1] < epochs[1:], False))
    told = np.round(epochs * steps[-1] / epochs[-1])
    return np.where(wanted & (told > 0) & (told <= steps[-1]), told, nothing)
