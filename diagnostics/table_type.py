"""What a declared table is: its columns with dtype, unit and one sentence, and their one check."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from diagnostics.errors import DiagnosticsError

Dtype = Literal["int", "float", "bool", "category", "text", "mapping"]

# In quotes: only the type checker knows a categorical with a parameter.
Values: TypeAlias = "Sequence[Any] | np.ndarray[Any, np.dtype[Any]] | pd.Categorical[Any]"

_PANDAS_DTYPE = {
    "int": "int64",
    "float": "float64",
    "bool": "bool",
    "category": "category",
    "text": "object",
    "mapping": "object",
}


@dataclass(frozen=True)
class Column:
    """One column. A nullable number is a float, so that missing is NaN and never 0.

    `category` is text of few distinct values, `text` any text (None when missing), `mapping` a
    plain dict. `unit` is "-" for what has none.
    """

    name: str
    dtype: Dtype
    unit: str
    sentence: str
    nullable: bool = False

    def to_series(self, values: Values) -> "pd.Series[Any]":
        """The values as a series of this column's dtype; None becomes the missing value.

        Raises:
            DiagnosticsError: a value does not fit the dtype.
        """
        try:
            if self.dtype == "float":
                return pd.Series(np.asarray(values, dtype="float64"))
            held = list(values) if isinstance(values, tuple) else values
            return pd.Series(held, dtype=_PANDAS_DTYPE[self.dtype])
        except (ValueError, TypeError, OverflowError) as error:
            raise DiagnosticsError(f"column {self.name}: {error}") from None

    def missing(self, length: int) -> Values:
        """The column of this length without a value."""
        return np.full(length, np.nan) if self.dtype == "float" else [None] * length


def sizes(**sentences: str) -> tuple[Column, ...]:
    """Nullable columns of bytes, by name, each with its sentence."""
    return numbers("bytes", **sentences)


def numbers(unit: str, **sentences: str) -> tuple[Column, ...]:
    """Nullable columns of one unit, by name, each with its sentence."""
    return tuple(Column(name, "float", unit, text, True) for name, text in sentences.items())


@dataclass(frozen=True)
class Table:
    """A declared table: the parser builds and validates it once; after that it is trusted."""

    name: str
    sentence: str
    columns: tuple[Column, ...]

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns in their declared order."""
        return tuple(column.name for column in self.columns)

    def empty(self) -> pd.DataFrame:
        """The table without a row, each column of its declared dtype."""
        return self.from_rows(())

    def from_rows(self, rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
        """The table of the rows, whose values come in the declared order of the columns.

        Raises:
            DiagnosticsError: a value does not fit its column.
        """
        values = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        return self._from_values(values)

    def from_records(self, records: Iterable[dict[str, Any]]) -> pd.DataFrame:
        """The table of the records; a column that a record lacks is missing in that row.

        Raises:
            DiagnosticsError: a value does not fit its column, or a key is no column.
        """
        held = list(records)
        unknown = {key for record in held for key in record} - set(self.column_names)
        if unknown:
            raise DiagnosticsError(f"table {self.name} has no column {sorted(unknown)}")
        return self._from_values(
            [[record.get(name) for record in held] for name in self.column_names]
        )

    def from_columns(self, **columns: Values) -> pd.DataFrame:
        """The table of whole columns of one length; one that is not given is missing throughout.

        Raises:
            DiagnosticsError: a value does not fit its column, or a name is no column.
        """
        unknown = set(columns) - set(self.column_names)
        if unknown:
            raise DiagnosticsError(f"table {self.name} has no column {sorted(unknown)}")
        length = max((len(values) for values in columns.values()), default=0)
        missing = (each for each in self.columns if each.name not in columns)
        filled = columns | {each.name: each.missing(length) for each in missing}
        return self._from_values([filled[name] for name in self.column_names])

    def concat(self, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """One validated table of several, in their order."""
        filled = [frame for frame in frames if len(frame)]
        if not filled:
            return self.empty()
        categories = [column.name for column in self.columns if column.dtype == "category"]
        for name in categories:  # of equal categories only, or they would decay to text
            together = union_categoricals([frame[name] for frame in filled]).categories
            filled = [frame.assign(**{name: _recoded(frame[name], together)}) for frame in filled]
        return self.validate(pd.concat(filled, ignore_index=True))

    def validate(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The same frame, checked: columns, their dtypes, nothing missing where it must not be.

        Raises:
            DiagnosticsError: the frame is not what is declared; names table and column.
        """
        if tuple(frame.columns) != self.column_names:
            raise DiagnosticsError(
                f"table {self.name} must have the columns {', '.join(self.column_names)}; "
                f"it has {', '.join(map(str, frame.columns))}"
            )
        for column in self.columns:
            series = frame[column.name]
            if str(series.dtype) != _PANDAS_DTYPE[column.dtype]:
                raise DiagnosticsError(
                    f"table {self.name}, column {column.name} must be {column.dtype}; "
                    f"it is {series.dtype}"
                )
            if not column.nullable and bool(series.isna().any()):
                raise DiagnosticsError(f"table {self.name}, column {column.name} misses a value")
        return frame

    def _from_values(self, values: Sequence[Values]) -> pd.DataFrame:
        columns = {
            column.name: column.to_series(column_values)
            for column, column_values in zip(self.columns, values, strict=True)
        }
        return self.validate(pd.DataFrame(columns))


def _recoded(values: "pd.Series[Any]", categories: "pd.Index[Any]") -> "pd.Series[Any]":
    return values.cat.set_categories(categories)


def render_markdown(tables: Sequence[Table]) -> str:
    """The page of `docs/tables.md`: one section for each table."""
    lines = [
        "# The tables that the parsers fill",
        "",
        "Written by `python -m diagnostics.tables > docs/tables.md`; a test keeps it current.",
        "Times are ms, sizes bytes, points in time seconds since the epoch. Missing is NaN",
        "(numbers) or None (text), never 0. Columns marked * may miss values. `category` is text",
        "of few values.",
    ]
    for table in tables:
        lines += [
            "",
            f"## {table.name}",
            "",
            table.sentence,
            "",
            "| column | dtype | unit | what |",
        ]
        lines.append("|---|---|---|---|")
        for column in table.columns:
            mark = " *" if column.nullable else ""
            lines.append(
                f"| `{column.name}`{mark} | {column.dtype} | {column.unit} | {column.sentence} |"
            )
    return "\n".join(lines) + "\n"
