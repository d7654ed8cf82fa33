"""Records of a file that is no text of lines, as the columns that lines would have made."""

from collections.abc import Iterable, Mapping

import numpy as np

from diagnostics.parsers.log_formats.fields import LOG_LINE
from diagnostics.parsers.scanned import Columns, Key, Scanned

MAX_RECORDS = 1_000_000


def scanned_records(
    family: str, records: Iterable[Mapping[str, float]], kind: str = LOG_LINE
) -> Scanned:
    """One line for each record with a step; those beyond a million are counted as left out."""
    found = Scanned()
    by_names: dict[tuple[str, ...], list[tuple[int, tuple[float, ...]]]] = {}
    for place, record in enumerate(records, start=1):
        if "step" not in record or len(record) < 2:
            continue
        if found.num_recognised >= MAX_RECORDS:
            found.left_out[kind] += 1
            continue
        found.num_recognised += 1
        by_names.setdefault(tuple(record), []).append((place, tuple(record.values())))
    for names, rows in by_names.items():
        columns = found.columns.setdefault(Key(family, kind, (), names), Columns())
        places = np.array([place for place, _ in rows], dtype="int64")
        columns.add(places, np.array([values for _, values in rows], dtype="float64"))
    return found
