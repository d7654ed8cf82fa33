"""What the lines of several families have in common: fields with a name, a value and a unit."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from diagnostics.parsers.line_shapes import Number, Reading, is_number
from diagnostics.parsers.scanned import LOG_LINE, PART, PHASES_PART

__all__ = ["LOG_LINE", "PHASES_PART"]

MIB, GIB = 1024.0**2, 1024.0**3

PROGRESS, MEMORY, STAGES, STAGE_PART = "progress", "memory", "stages", PART

PHASE = "phase:"
"""In front of a number's name: the time of a phase of the step, in ms."""

WAIT_INSIDE = "data_wait_inside_forward"
"""A phase whose time the forward's holds as well."""

_UNITS = {
    b"": 1.0,
    b"ms": 1.0,
    b"s": 1000.0,
    b"us": 0.001,
    b"%": 1.0,
    b"MB": MIB,
    b"MiB": MIB,
    b"GB": GIB,
    b"GiB": GIB,
}
TIMERS = b"time (ms) |"
_TIMER = re.compile(rb"\| ([\w/-]{1,80}): ([\d.]{1,20})")
_WITH_UNIT = re.compile(rb"([-+\d.,eEnainf]+?)(ms|s|us|%|MB|MiB|GB|GiB)?")


@dataclass(frozen=True)
class Field:
    """The column that a field fills, and what one of it is in the column's unit.

    Without a factor the unit behind the value says it.
    """

    column: str
    factor: float | None = None


def field_number(
    fields: Mapping[bytes, Field], name: bytes, line: bytes, start: int, end: int
) -> Number | None:
    """The number that the text of a named field is; None if nobody wants it or it is none."""
    wanted = fields.get(name)
    found = _WITH_UNIT.fullmatch(line, start, end) if wanted is not None else None
    if wanted is None or found is None or not is_number(found[1]):
        return None
    factor = wanted.factor if wanted.factor is not None else _UNITS[found[2] or b""]
    return Number(wanted.column, found.start(1), found.end(1), factor)


def fields_in(
    pattern: re.Pattern[bytes],
    fields: Mapping[bytes, Field],
    line: bytes,
    start: int = 0,
) -> Iterable[Number]:
    """The numbers of all fields that the pattern (name, value) finds; of two of a name the last."""
    found: dict[str, Number] = {}
    for each in pattern.finditer(line, start):
        number = field_number(fields, each[1], line, each.start(2), each.end(2))
        if number is not None:
            found[number.name] = number
    return found.values()


def timers_in(line: bytes, family: str, phases: Mapping[bytes, Field]) -> Reading | None:
    """All timers of a step on one line, `time (ms) | fwd: 259.10 | bwd: 798.38`."""
    start = line.find(TIMERS)
    numbers = tuple(fields_in(_TIMER, phases, line, start)) if start >= 0 else ()
    return Reading(kind=PHASES_PART, family=family, numbers=numbers) if numbers else None
