"""Rows of records that name the same parts, kept as numbers; the names once for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from diagnostics.parsers.row_buffer import RowBuffer

_WAITING_RECORDS = 20_000
_MAX_LAYOUTS = 256


@dataclass
class _Layout:
    """Records of one kind that name the same parts."""

    words: Mapping[str, str]
    names: tuple[str, ...]
    ranks: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    tags: list[bool] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    extra: dict[str, dict[int, Mapping[str, float]]] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """A row for each part of each record."""
        count, width = len(self.steps), len(self.names)
        codes = np.tile(np.arange(width), count)
        columns: dict[str, Any] = {
            "rank": np.repeat(np.array(self.ranks, dtype="int64"), width),
            "step": np.repeat(np.array(self.steps, dtype="int64"), width),
            "is_tagged": np.repeat(np.array(self.tags, dtype=bool), width),
            "name": pd.Categorical.from_codes(codes, categories=pd.Index(self.names)),
            "ms": np.array(self.ms, dtype="float64"),
            "num_steps": np.ones(count * width, dtype="int64"),
        }
        for name, word in self.words.items():
            columns[name] = pd.Categorical([word]).repeat(count * width)
        for name, by_record in self.extra.items():
            columns[name] = self._extra_column(by_record)
        return columns

    def _extra_column(self, by_record: Mapping[int, Mapping[str, float]]) -> Any:
        values = np.full((len(self.steps), len(self.names)), np.nan)
        for record, stated in by_record.items():
            values[record] = [stated.get(name, np.nan) for name in self.names]
        return values.ravel()


class LayoutBuffer:
    """Collects records of parts by name, and hands them to the buffer of their table."""

    def __init__(self, buffer: RowBuffer) -> None:
        self._buffer = buffer
        self._layouts: dict[tuple[Any, ...], _Layout] = {}
        self._num_waiting = 0

    def add(
        self,
        place: tuple[int, int],
        times: Mapping[str, float],
        words: Mapping[str, str],
        *,
        is_tagged: bool = False,
        **extra: Mapping[str, float] | None,
    ) -> None:
        """Adds a record.

        Args:
            place: Its rank and step.
            times: ms by the name of the part.
            words: Columns of words that all of its rows share.
            is_tagged: Whether statistics leave it out.
            **extra: Further columns of numbers, by the name of the part; None or missing: unknown.
        """
        if not times:
            return
        key = (*words.values(), *times)
        layout = self._layouts.get(key)
        if layout is None:
            if len(self._layouts) >= _MAX_LAYOUTS:
                self.close()
            layout = self._layouts[key] = _Layout(words, tuple(times))
        for name, values in extra.items():
            held = layout.extra.setdefault(name, {})
            if values:
                held[len(layout.steps)] = values
        layout.ranks.append(place[0])
        layout.steps.append(place[1])
        layout.tags.append(is_tagged)
        layout.ms += times.values()
        self._num_waiting += 1
        if self._num_waiting >= _WAITING_RECORDS:
            self.close()

    def close(self) -> None:
        """Hands on what waits."""
        layouts, self._layouts = self._layouts, {}
        self._num_waiting = 0
        for layout in layouts.values():
            self._buffer.add_frame(self._buffer.table.from_columns(**layout.columns()))
