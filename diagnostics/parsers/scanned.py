"""What a scan of a log leaves: columns of the lines that are alike, statements of the others."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diagnostics.parsers.line_shapes import STEP, Floats

Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

MARK = "mark"
"""Kind of a line that begins a step and says nothing else."""

PART, PHASES_PART, LOG_LINE = "part", "phases", "step line"
STEPLESS = (PART, PHASES_PART, LOG_LINE)
"""Kinds whose lines, where they name no step, belong to the last one that their family named."""

SAID = "said"
"""Kind of a statement that is known and that no table wants."""

NO_STEP = -1
"""The step of a part that no mark stands before."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a line says that is not one of many alike."""

    kind: str
    value: Any = None


@dataclass(frozen=True)
class Key:
    """What the columns of lines alike have in common."""

    family: str
    kind: str
    words: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


@dataclass
class Columns:
    """Lines alike: the number of each line in its file, and what it states."""

    places: list[Integers] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)

    def add(self, places: Integers, values: Floats) -> None:
        """Adds lines."""
        self.places.append(places)
        self.values.append(values)

    def joined(self) -> tuple[Integers, Floats]:
        """All lines in the order of the file."""
        places, values = np.concatenate(self.places), np.concatenate(self.values)
        order = np.argsort(places, kind="stable")
        return places[order], values[order]


@dataclass(frozen=True)
class MarkCount:
    """The marks of a family: how many, the step of the last, and whether that is their number."""

    count: int = 0
    last: int = NO_STEP
    is_counted: bool = False


@dataclass
class Scanned:
    """What was read.

    `left_out` counts what there was too much of, by kind. Where there were more numbers of a kind
    than `max_numbers`, only those of every `strides`th step are kept; `steps_left_out` holds the
    steps of the other lines.
    """

    columns: dict[Key, Columns] = field(default_factory=dict)
    statements: list[tuple[int, Statement]] = field(default_factory=list)
    num_recognised: int = 0
    marks: dict[str, MarkCount] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    strides: dict[str, int] = field(default_factory=dict)
    steps_left_out: dict[str, list[Integers]] = field(default_factory=dict)

    def thin_alike(self) -> None:
        """Where parts of a file were thinned differently, all are as the thinnest."""
        for kind, stride in self.strides.items():
            for key in [each for each in self.columns if each.kind == kind]:
                self.thin(key, stride)

    def thin(self, key: Key, stride: int) -> int:
        """Keeps the lines of every `stride`th step, and of the others the step.

        Returns:
            How many numbers went.
        """
        if STEP not in key.names:
            return 0
        columns, place, gone = self.columns[key], key.names.index(STEP), 0
        for number, values in enumerate(columns.values):
            is_kept = np.nan_to_num(values[:, place]) % stride == 0
            if is_kept.all():
                continue
            self.leave_out(key.kind, values[~is_kept, place])
            gone += int((~is_kept).sum()) * values.shape[1]
            columns.values[number] = values[is_kept]
            columns.places[number] = columns.places[number][is_kept]
        return gone

    def leave_out(self, kind: str, steps: Floats) -> None:
        """Notes the steps of lines that are not kept."""
        left_out = np.unique(steps[np.isfinite(steps)].astype("int64"))
        self.steps_left_out.setdefault(kind, []).append(left_out)
