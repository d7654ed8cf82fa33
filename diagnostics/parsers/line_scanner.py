"""Sorts the lines of a log by their shape and reads those of one shape together.

What is repeated by the million becomes columns; what stands there once becomes statements, in the
order of the lines. Nothing here knows what a line means: formats do.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from diagnostics.parsers.line_marks import Marks
from diagnostics.parsers.line_shapes import (
    DIGITS,
    STEP,
    Floats,
    Reading,
    Shape,
    Span,
    read_values,
)
from diagnostics.parsers.line_stamps import with_stamp
from diagnostics.parsers.scanned import (
    LOG_LINE,
    MARK,
    SAID,
    STEPLESS,
    Columns,
    Integers,
    Key,
    Scanned,
    Statement,
)

MAX_SHAPE_BYTES = 8192
"""Of a line that one format can fill; bounds what the patterns have to search."""

MAX_NUMBERS = 1_000_000
"""Of one kind of lines; beyond it only every 2nd, 4th, ... step is kept."""

_MAX_SHAPES = 1024
_MAX_VARIANTS = 256
_MAX_COLUMNS = 512
_MAX_STATEMENTS = 100_000  # of one kind
_MAX_FAILURES = 1000  # of one skeleton: no reader has use for such lines
_MAX_SAID = 50  # the same for lines that say nothing that a table wants
_WAITING_LINES = 65_536
_MAX_STRIDE = 1 << 20

_RANK = re.compile(rb"\[(?:rank|default)(\d{1,6})\]")


Reader: TypeAlias = Callable[[bytes], Reading | Statement | None]


@dataclass(frozen=True)
class LineFormat:
    """A reader, and the text without digits that every line of its format holds."""

    marker: bytes
    read: Reader


class _Group:
    """Lines of one skeleton that wait; `span` is where the words that tell variants apart stand."""

    __slots__ = ("lines", "places", "says_nothing", "span", "variants")

    def __init__(self, line: bytes, reading: Reading | None) -> None:
        self.lines: list[bytes] = []
        self.places: list[int] = []
        self.says_nothing = reading is None
        self.span = (0, 0) if reading is None else _telling_span(line, reading)
        self.variants: dict[bytes, Shape] = {}

    def key_of(self, line: bytes) -> bytes:
        return line[self.span[0] : self.span[1]]

    def take(self) -> dict[bytes, tuple[list[int], list[bytes]]]:
        """The lines that wait, by variant."""
        lines, places = self.lines, self.places
        self.lines, self.places = [], []
        if self.span == (0, 0):
            return {b"": (places, lines)}
        start, end = self.span
        found: dict[bytes, tuple[list[int], list[bytes]]] = {}
        for place, line in zip(places, lines, strict=True):
            held = found.setdefault(line[start:end], ([], []))
            held[0].append(place)
            held[1].append(line)
        return found


def _telling_span(line: bytes, reading: Reading) -> Span:
    """The first words with digits in them, if no digit before them can move their place."""
    for start, end in sorted(reading.fixed):
        if re.search(rb"\d", line[:start]):
            break
        if re.search(rb"\d", line[start:end]):
            return start, end
    return 0, 0


class LineScanner:
    """Takes the lines of a file in their order; `close` gives what they state."""

    def __init__(self, formats: Sequence[LineFormat], max_numbers: int = MAX_NUMBERS) -> None:
        self._formats = formats
        self._max_numbers = max_numbers
        self._markers = re.compile(b"|".join({re.escape(each.marker) for each in formats}))
        self._groups: dict[bytes, _Group | None] = {}
        self._num_waiting = 0
        self._found = Scanned()
        self._num_of_kind: Counter[str] = Counter()
        self._failures: Counter[bytes] = Counter()
        self._said: Counter[bytes] = Counter()
        self._marks: dict[str, Marks] = {}
        self._parts: list[tuple[Reading, Integers, Floats]] = []
        self._num_numbers: Counter[str] = Counter()

    def add(self, lines: Sequence[bytes], first_place: int) -> None:
        """Takes lines; `first_place` is the number of the first of them in its file."""
        groups, look = self._groups, self._look
        for place, line in enumerate(lines, first_place):
            skeleton = line.translate(None, DIGITS)
            if skeleton not in groups:
                look(place, line, skeleton)
            elif (group := groups[skeleton]) is not None:
                group.lines.append(line)
                group.places.append(place)
        self._num_waiting += len(lines)
        if self._num_waiting >= _WAITING_LINES:
            self._read_waiting()

    def close(self) -> Scanned:
        """What the lines state, the statements in the order of the lines."""
        self._read_waiting()
        self._found.statements.sort(key=lambda each: each[0])
        self._found.marks = {family: marks.summary for family, marks in self._marks.items()}
        return self._found

    def expect(self, factor: float) -> None:
        """Says how many times as many lines as so far there will be in all.

        Where the numbers of a kind will be too many, they are thinned from now on.
        """
        self._read_waiting()
        for kind, count in list(self._num_numbers.items()):
            stride = self._found.strides.get(kind, 1)
            while count * factor / stride > self._max_numbers and stride < _MAX_STRIDE:
                stride *= 2
            if stride > 1:
                self._thin_kind(kind, stride)

    # One line at a time ------------------------------------------------------------------------

    def _look(self, place: int, line: bytes, skeleton: bytes) -> None:
        """A line of a shape that is not known yet."""
        if self._markers.search(skeleton) is not None:
            self._read(place, line, skeleton)
        elif len(self._groups) < _MAX_SHAPES:
            self._groups[skeleton] = None  # no format can be in lines of this shape

    def _read(self, place: int, line: bytes, skeleton: bytes) -> None:
        """The careful way."""
        for each in self._formats:
            if each.marker not in line:
                continue
            start = max(0, line.find(each.marker) - MAX_SHAPE_BYTES // 8)
            text = line[start : start + MAX_SHAPE_BYTES]
            found = each.read(text)
            if isinstance(found, Statement):
                self._state(place, line, skeleton, found)
                return
            if found is not None:
                reading = _with_rank(text, found)
                if reading.kind == LOG_LINE:
                    reading = with_stamp(text, reading)
                if len(text) == len(line):
                    self._remember(line, skeleton, reading)
                place_column = np.array([place], dtype="int64")
                self._add(reading, place_column, read_values(text, reading)[None, :])
                return
        self._failures[skeleton] += 1
        if self._failures[skeleton] > _MAX_FAILURES and skeleton not in self._groups:
            self._groups[skeleton] = None
        elif len(self._failures) > _MAX_SHAPES:
            self._failures.clear()

    def _state(self, place: int, line: bytes, skeleton: bytes, statement: Statement) -> None:
        self._found.num_recognised += 1
        if statement.kind == SAID:
            self._said[skeleton] += 1
            if self._said[skeleton] > _MAX_SAID and len(self._groups) < _MAX_SHAPES:
                self._groups.setdefault(skeleton, _Group(line, None))
            elif len(self._said) > _MAX_SHAPES:
                self._said.clear()
            return
        self._num_of_kind[statement.kind] += 1
        if self._num_of_kind[statement.kind] > _MAX_STATEMENTS:
            self._found.left_out[statement.kind] += 1
        else:
            self._found.statements.append((place, statement))

    def _remember(self, line: bytes, skeleton: bytes, reading: Reading) -> None:
        """The shape of this line, for the lines to come."""
        group = self._groups.get(skeleton)
        if group is None:
            if len(self._groups) >= _MAX_SHAPES:
                return
            group = self._groups[skeleton] = _Group(line, reading)
        key = group.key_of(line)
        if key not in group.variants and len(group.variants) < _MAX_VARIANTS:
            group.variants[key] = Shape(line, reading)

    # Many lines at once ------------------------------------------------------------------------

    def _read_waiting(self) -> None:
        self._num_waiting = 0
        for skeleton, group in list(self._groups.items()):
            if group is None or not group.lines:
                continue
            waiting = group.take()
            if group.says_nothing:
                self._found.num_recognised += sum(len(places) for places, _ in waiting.values())
                continue
            for key, (places, lines) in waiting.items():
                self._read_variant(group, key, places, lines, skeleton)
        self._resolve_parts()

    def _read_variant(
        self, group: _Group, key: bytes, places: list[int], lines: list[bytes], skeleton: bytes
    ) -> None:
        if key not in group.variants:  # reading the first line makes it known
            self._read(places[0], lines[0], skeleton)
            places, lines = places[1:], lines[1:]
        if key in group.variants:
            self._read_alike(group.variants[key], places, lines, skeleton)
        else:
            self._read_each(places, lines, skeleton)

    def _read_alike(
        self, shape: Shape, places: list[int], lines: list[bytes], skeleton: bytes
    ) -> None:
        stride = self._found.strides.get(shape.reading.kind, 1)
        if stride > 1 and (steps := shape.steps(lines)) is not None:
            self._found.leave_out(shape.reading.kind, steps[steps % stride != 0])
            kept = np.flatnonzero(steps % stride == 0).tolist()
            places, lines = [places[each] for each in kept], [lines[each] for each in kept]
        values = shape.read(lines)
        if values is None:
            pairs = list(zip(places, lines, strict=True))
            fitting = [pair for pair in pairs if shape.fits(pair[1])]
            others = [pair for pair in pairs if not shape.fits(pair[1])]
            places = [place for place, _ in fitting]
            values = shape.read([line for _, line in fitting])
            self._read_each([place for place, _ in others], [line for _, line in others], skeleton)
        if values is not None and len(values):
            self._add(shape.reading, np.array(places, dtype="int64"), values)

    def _read_each(self, places: list[int], lines: list[bytes], skeleton: bytes) -> None:
        for place, line in zip(places, lines, strict=True):
            self._read(place, line, skeleton)

    def _add(self, reading: Reading, places: Integers, values: Floats) -> None:
        self._found.num_recognised += len(places)
        if reading.kind == MARK:
            self._mark(reading.family, places, values)
        elif STEP in reading.names:
            place = reading.names.index(STEP)
            self._mark(reading.family, places, values[:, place : place + 1])
            self._keep(reading, reading.names, places, values)
        elif reading.kind in STEPLESS:
            self._parts.append((reading, places, values))
        else:
            self._keep(reading, reading.names, places, values)

    def _mark(self, family: str, places: Integers, values: Floats) -> None:
        self._marks.setdefault(family, Marks()).add(places, values)

    def _resolve_parts(self) -> None:
        """Gives each part the step that was begun last before it."""
        parts, self._parts = self._parts, []
        for reading, places, values in parts:
            steps = self._marks.setdefault(reading.family, Marks()).steps_at(places)
            self._keep(reading, (STEP, *reading.names), places, np.column_stack([steps, values]))

    def _keep(
        self, reading: Reading, names: tuple[str, ...], places: Integers, values: Floats
    ) -> None:
        kind = reading.kind
        key = Key(reading.family, kind, reading.words, names)
        columns = self._found.columns.get(key)
        if columns is None:
            if len(self._found.columns) >= _MAX_COLUMNS:
                self._found.left_out[kind] += len(places)
                return
            columns = self._found.columns[key] = Columns()
        stride = self._found.strides.get(kind, 1)
        columns.add(places, values)
        self._num_numbers[kind] += values.size
        if stride > 1:
            self._num_numbers[kind] -= self._found.thin(key, stride)
        while self._num_numbers[kind] > self._max_numbers and stride < _MAX_STRIDE:
            stride *= 2
            self._thin_kind(kind, stride)

    def _thin_kind(self, kind: str, stride: int) -> None:
        self._found.strides[kind] = stride
        alike = [each for each in self._found.columns if each.kind == kind]
        self._num_numbers[kind] -= sum(self._found.thin(each, stride) for each in alike)


def _with_rank(line: bytes, reading: Reading) -> Reading:
    """The rank that a launcher put in front of the line, as a word."""
    found = _RANK.search(line, 0, MAX_SHAPE_BYTES)
    if found is None or any(each.start < found.end() for each in reading.numbers):
        return reading
    return reading.with_words(found.span(1), rank=found[1].decode())
