"""Joins work of the device to the call that launched it, and to its operator, by their ids.

The ids of a large trace do not fit into the memory bound at once: they are joined in several
rounds, each of them for the ids with one remainder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from diagnostics.trace import DEVICE_KINDS, Events, Kind

ROUND_ROWS = 1 << 20
"""Ids joined in one round; some 40 bytes each."""

_CHUNK_ROWS = 1 << 18

_Column: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


@dataclass(frozen=True)
class _Link:
    """What rows of one kind lend to the device's rows of equal id: columns there, columns here."""

    kind: Kind
    key: str
    columns: Mapping[str, str]


_LAUNCH = {"start_ns": "launch_ns", "end_ns": "launch_end_ns", "track": "launch_track"}
_LINKS = (
    _Link("runtime", "correlation", _LAUNCH),
    _Link("op", "op_id", {"name": "operator"}),
)


def link(events: Mapping[Kind, Events]) -> None:
    """Fills the columns of launch and operator; the first row of an id counts.

    Args:
        events: Every kind in order of start; work of the device is changed in place.
    """
    work = [events[kind] for kind in DEVICE_KINDS if len(events[kind])]
    if not work:
        return
    for each in _LINKS:
        source = events[each.kind]
        rounds = 1 + len(source) // ROUND_ROWS
        for number in range(rounds):
            _join(source, work, each, (number, rounds))


def _join(source: Events, work: Sequence[Events], how: _Link, turn: tuple[int, int]) -> None:
    ids, places = _ids(source[how.key], turn)
    if not len(ids):
        return
    for rows in (chunk for each in work for _, chunk in _chunks(each)):
        wanted = rows[how.key]
        found = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        fits = np.flatnonzero(ids[found] == wanted)
        lenders = source[places[found[fits]]]
        for theirs, ours in how.columns.items():
            rows[ours][fits] = lenders[theirs]


def _ids(column: _Column, turn: tuple[int, int]) -> tuple[_Column, _Column]:
    """The ids of this turn in order, and the rows where they stand; a doubled one stands first."""
    number, rounds = turn
    places = [
        first + np.flatnonzero((chunk >= 0) & (chunk % rounds == number))
        for first, chunk in _chunks(column)
    ]
    place = np.concatenate(places) if places else np.empty(0, np.int64)
    ids = column[place]
    order = np.argsort(ids, kind="stable")
    return ids[order], place[order]


def _chunks(rows: _Column) -> Iterator[tuple[int, _Column]]:
    """The rows in order, as views, each with the place of its first."""
    for first in range(0, len(rows), _CHUNK_ROWS):
        yield first, rows[first : first + _CHUNK_ROWS]
