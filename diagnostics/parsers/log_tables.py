"""From the columns of a scanned log to rows, as the declared tables want them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from diagnostics.parsers.line_shapes import STEP, Floats
from diagnostics.parsers.scanned import Integers, Key, Scanned
from diagnostics.table_type import Table

MAX_STEP = 10**15


def wide_rows(found: Scanned, kind: str) -> pd.DataFrame:
    """One row for each line of a kind, in the order of the lines, with all that they state.

    The columns `place`, `layout` (a number for lines that state the same), `family` and `rank` are
    always there; what a line does not state is NaN,
    of words None.
    """
    held = [(key, *columns.joined()) for key, columns in found.columns.items() if key.kind == kind]
    names = dict.fromkeys(name for key, *_ in held for name in key.names)
    numbers = {name: place for place, name in enumerate(names)}
    values = np.full((sum(len(places) for _, places, _ in held), len(numbers)), np.nan)
    at = 0
    for key, places, stated in held:
        values[at : at + len(places), [numbers[name] for name in key.names]] = stated
        at += len(places)
    place_column = np.concatenate([np.empty(0, "int64"), *(places for _, places, _ in held)])
    layouts = np.repeat(np.arange(len(held)), [len(places) for _, places, _ in held])
    frame = pd.DataFrame(values, columns=list(numbers)).assign(
        place=place_column, layout=layouts, **_words(held)
    )
    return frame.sort_values("place", kind="stable", ignore_index=True)


def _words(held: Iterable[tuple[Key, Integers, Floats]]) -> dict[str, Any]:
    """Family, rank, and every other word of the lines, a value for each line."""
    lengths = [(key, dict(key.words), len(places)) for key, places, _ in held]
    names = dict.fromkeys(name for _, words, _ in lengths for name in words if name != "rank")
    repeated: dict[str, list[Any]] = {"family": [], "rank": [], **{name: [] for name in names}}
    for key, words, length in lengths:
        repeated["family"] += [key.family] * length
        repeated["rank"] += [int(words.get("rank", 0))] * length
        for name in names:
            repeated[name] += [words.get(name)] * length
    return repeated


def with_whole_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose step is a number that a step can have, as an integer."""
    if STEP not in rows:
        return rows.iloc[:0].assign(step=np.empty(0, "int64"))
    is_step = rows[STEP].between(0, MAX_STEP)
    return rows[is_step].assign(step=rows.loc[is_step, STEP].astype("int64"))


def table_rows(rows: pd.DataFrame, table: Table) -> pd.DataFrame:
    """The rows as a declared table; columns that it has not are dropped."""
    if not len(rows):
        return table.empty()
    held = {name: rows[name].to_numpy() for name in table.column_names if name in rows}
    return table.from_columns(**held)
