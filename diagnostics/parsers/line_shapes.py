"""Lines that differ in their numbers alone: one is read with care, the rest by the thousand.

A reader takes a line apart and says where each number stands in it. From that a pattern is made
that reads every further line of this shape at once; a line that it does not fit goes back to the
reader. So the fast way can only repeat what the careful one would have done.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

LARGEST = 1e18
"""A larger number is damage and counts as missing."""

STEP = "step"
DIGITS = b"0123456789"
_NUMBER = rb"([-+]?(?:\d{1,18}(?:\.\d{0,18})?(?:[eE][-+]?\d{1,3})?|[nN]a[nN]|inf))"
_GROUPED = rb"(\d{1,3}(?:,\d{3}){1,5}(?:\.\d{0,18})?)"
_GROUPS = (_NUMBER, _GROUPED)
_IS_NUMBER = re.compile(_NUMBER + b"|" + _GROUPED)
_RUNS = re.compile(rb"\d+|\D+")

Span = tuple[int, int]
Rows = list[tuple[bytes, ...]] | list[bytes]


@dataclass(frozen=True)
class Number:
    """Where a number stands in its line, what it is called, and what turns it into our unit."""

    name: str
    start: int
    end: int
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one line states.

    `kind` says which table its numbers belong to. `words` is what it says in words, and `fixed`
    where those stand: a line with other words there is not of this shape.
    """

    kind: str
    family: str
    numbers: tuple[Number, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    fixed: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        in_order = sorted(self.numbers, key=lambda each: each.start)
        object.__setattr__(self, "numbers", tuple(in_order))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the numbers in their order."""
        return tuple(number.name for number in self.numbers)

    def with_numbers(self, *numbers: Number) -> "Reading":
        """The same with further numbers."""
        return replace(self, numbers=(*self.numbers, *numbers))

    def with_words(self, *fixed: Span, **words: str) -> "Reading":
        """The same with further words."""
        return replace(self, words=(*self.words, *words.items()), fixed=(*self.fixed, *fixed))


def is_number(text: bytes) -> bool:
    """Whether the text is a number as lines are taken to write them."""
    return _IS_NUMBER.fullmatch(text) is not None


def read_values(line: bytes, reading: Reading) -> Floats:
    """The numbers of one line; NaN for what is not finite."""
    values = [
        float(line[each.start : each.end].replace(b",", b"")) * each.factor
        for each in reading.numbers
    ]
    return np.array([value if abs(value) <= LARGEST else math.nan for value in values])


class Shape:
    """Reads lines that have the shape of a given one."""

    def __init__(self, line: bytes, reading: Reading) -> None:
        self.reading = reading
        pieces = list(_pieces(line, reading))
        self._pattern = re.compile(b"".join(pieces), re.MULTILINE)
        self._head: re.Pattern[bytes] | None = None
        self._step_group = reading.names.index(STEP) + 1 if STEP in reading.names else 0
        if self._step_group:
            groups = [place for place, piece in enumerate(pieces) if piece in _GROUPS]
            self._head = re.compile(b"".join(pieces[: groups[self._step_group - 1] + 1]))
        self._factors = np.array([each.factor for each in reading.numbers], dtype="float64")
        self._has_groups = any(b"," in line[each.start : each.end] for each in reading.numbers)

    def read(self, lines: Sequence[bytes]) -> Floats | None:
        """The numbers, a row for each line; None if a line is of another shape."""
        rows = self._pattern.findall(b"\n".join(lines)) if lines else []
        return self._values(rows) if len(rows) == len(lines) else None

    def steps(self, lines: Sequence[bytes]) -> Floats | None:
        """The step of each line, without reading on; None if no step stands in them."""
        if self._head is None:
            return None
        found = [self._head.match(line) for line in lines]
        if any(each is None for each in found):
            return None
        group = self._step_group
        return np.nan_to_num([float(each[group].replace(b",", b"")) for each in found if each])

    def fits(self, line: bytes) -> bool:
        """Whether the line is of this shape."""
        return self._pattern.fullmatch(line) is not None

    def _values(self, rows: Rows) -> Floats:
        count = len(self._factors)
        if not count or not rows:
            return np.empty((len(rows), count))
        text = b" ".join(chain.from_iterable(rows) if count > 1 else rows)  # type: ignore[arg-type]
        if self._has_groups:
            text = text.replace(b",", b"")
        values = np.fromstring(text, dtype="float64", sep=" ")
        values = values.reshape(len(rows), count) * self._factors
        return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _pieces(line: bytes, reading: Reading) -> Iterator[bytes]:
    """The pattern: its numbers as groups, its words as they are, all other digits as any."""
    yield b"^"
    place = 0
    numbers = {(each.start, each.end) for each in reading.numbers}
    for start, end in sorted({*numbers, *reading.fixed}):
        yield _with_any_digits(line[place:start])
        place = end
        if (start, end) not in numbers:
            yield re.escape(line[start:end])
        else:
            yield _GROUPED if b"," in line[start:end] else _NUMBER
    yield _with_any_digits(line[place:]) + b"$"


def _with_any_digits(text: bytes) -> bytes:
    return b"".join(rb"\d+" if run.isdigit() else re.escape(run) for run in _RUNS.findall(text))
