"""Collects rows of a declared table in compact parts, within a bound on their number."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from diagnostics.language import say
from diagnostics.table_type import Table

MAX_ROWS = 2_000_000
_PART_ROWS = 50_000
_MAX_STRIDE = 1 << 20


class RowBuffer:
    """Rows of one table. Above `max_rows`, only every 2nd, 4th, ... step's rows are kept.

    Thinning by the step's number keeps the same steps of every rank and every table, whatever the
    order of the rows; samples of the machine are thinned evenly by their time. Where that cannot
    help (one step, endless rows), later rows are refused.
    """

    def __init__(self, table: Table, max_rows: int = MAX_ROWS) -> None:
        self.table = table
        self.max_rows = max_rows
        self.stride = 1
        self._rows: list[Sequence[Any]] = []
        self._parts: list[pd.DataFrame] = []
        self._num_in_parts = 0
        self._num_refused = 0

    def add(self, row: Sequence[Any]) -> None:
        """Adds a row, its values in the declared order."""
        self._rows.append(row)
        if len(self._rows) >= _PART_ROWS:
            self._close_part()

    def add_frame(self, rows: pd.DataFrame) -> None:
        """Adds the rows of a validated table."""
        self._close_part()
        self._keep(rows)

    def frame(self) -> pd.DataFrame:
        """The validated table of all rows kept."""
        self._close_part()
        return self.table.concat(self._parts)

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        found = []
        if self.stride > 1:
            found.append(
                say(
                    "more than {max_rows} rows of {name}: only about every {stride}th {unit} "
                    "was kept",
                    max_rows=self.max_rows,
                    name=self.table.name,
                    stride=self.stride,
                    unit=self._unit(),
                )
            )
        if self._num_refused:
            found.append(
                say(
                    "{num_refused} further rows of {name} were left out",
                    num_refused=self._num_refused,
                    name=self.table.name,
                )
            )
        return tuple(found)

    def _unit(self) -> str:
        return "step" if "step" in self.table.column_names else "sample"

    def _close_part(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self._keep(self.table.from_rows(rows))

    def _keep(self, rows: pd.DataFrame) -> None:
        part = self._thinned(rows)
        if self.stride >= _MAX_STRIDE and self._num_in_parts >= self.max_rows:
            self._num_refused += len(part)
            return
        self._parts.append(part)
        self._num_in_parts += len(part)
        while self._num_in_parts > self.max_rows and self.stride < _MAX_STRIDE:
            self.stride *= 2
            self._parts = [self._thinned(part) for part in self._parts]
            self._num_in_parts = sum(len(part) for part in self._parts)

    def _thinned(self, part: pd.DataFrame) -> pd.DataFrame:
        if self.stride == 1:
            return part
        if self._unit() == "step":
            return part.loc[part["step"].fillna(0).astype("int64").mod(self.stride).eq(0)]
        # Knuth's multiplicative hash, so that no sampling interval can be in step with the stride.
        times_ms = (part["at_unix_s"] * 1000).astype("int64").astype("uint64")
        hashed = (times_ms * 2654435761 % 2**32).to_numpy() >> 8
        is_kept = pd.Series(hashed % self.stride == 0, index=part.index)
        return part.loc[is_kept]
