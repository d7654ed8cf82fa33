"""The time stamps that loggers put in front of a line, and seconds out of them.

The clock of a stamp has no time zone; only differences of stamps are used.
"""

import re

import numpy as np
import pandas as pd

from diagnostics.parsers.line_shapes import Floats, Number, Reading

_STAMP = re.compile(
    rb"(?<![\d.])(?:(\d{4}|\d{2})[-/])?(\d{2})[-/](\d{2})[ T](\d{2}):(\d{2}):(\d{2})"
    rb"(?:[.,](\d{1,6}))?"
)
_NAMES = ("at_year", "at_month", "at_day", "at_hour", "at_minute", "at_second", "at_fraction")
_LONGEST_PREFIX = 200
_SECONDS = 1e9


def with_stamp(line: bytes, reading: Reading) -> Reading:
    """The reading with the numbers of the stamp in front of its own, if there is one."""
    first = min((each.start for each in reading.numbers), default=0)
    found = _STAMP.search(line, 0, min(first, _LONGEST_PREFIX))
    if found is None:
        return reading
    numbers = tuple(
        Number(name, *found.span(group), 10.0 ** -len(found[group]) if group == 7 else 1.0)
        for group, name in enumerate(_NAMES, start=1)
        if found[group] is not None
    )
    return reading.with_numbers(*numbers)


def stamp_seconds(rows: pd.DataFrame) -> Floats | None:
    """Seconds of each row's stamp on one clock, NaN without one; None if no row has one."""
    if any(name not in rows for name in _NAMES[1:6]):
        return None
    columns = {name: rows[name].to_numpy("float64") for name in _NAMES if name in rows}
    is_known = np.isfinite(columns["at_day"])
    date = {name: np.where(is_known, columns[f"at_{name}"], 1.0) for name in ("month", "day")}
    years = np.nan_to_num(columns.get("at_year", np.full(len(rows), 2000.0)), nan=2000.0)
    dates = pd.to_datetime(
        pd.DataFrame({"year": np.where(years < 100, years + 2000, years), **date}),
        errors="coerce",
    )
    days_s = dates.to_numpy("datetime64[ns]").astype("int64") / _SECONDS
    clock_s = columns["at_hour"] * 3600 + columns["at_minute"] * 60 + columns["at_second"]
    fraction_s = np.nan_to_num(columns.get("at_fraction", np.zeros(len(rows))))
    seconds = np.where(dates.isna().to_numpy() | ~is_known, np.nan, days_s + clock_s + fraction_s)
    return np.asarray(seconds, dtype="float64")
