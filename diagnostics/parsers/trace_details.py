"""Columns that only some events of a trace have: order of the backward, collectives, waits."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np

from diagnostics.parsers.trace_events import Args, Number, to_number
from diagnostics.trace import COLLECTIVE_DTYPE, EVENT_DTYPE, OP_DTYPE, SYNC_DTYPE, Events

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
_LARGEST_ID = float(1 << 53)
_UNKNOWN = -1
_COLLECTIVE = attrgetter("collective")


def with_sequence(common: Events, sequence: Numbers) -> Events:
    """Rows of operators, with the sequence numbers that autograd gave them."""
    rows = _wider(common, OP_DTYPE)
    rows["sequence"] = sequence
    return rows


def with_waits(common: Events, args: Sequence[Args]) -> Events:
    """Rows of waits: which stream waits, for which mark on which stream."""
    rows = _wider(common, SYNC_DTYPE)
    rows["stream"] = _ids([each.stream for each in args])
    rows["waits_for"] = _ids([each.waits_for for each in args])
    rows["waits_for_stream"] = _ids([each.waits_for_stream for each in args])
    return rows


def collectives(common: Events, args: Sequence[Args], number: Callable[[str], int]) -> Events:
    """Rows of those events that describe a collective: kernels, and operators around launches.

    Args:
        common: Rows of some events.
        args: Their arguments.
        number: Gives a name's number.
    """
    named = list(map(_COLLECTIVE, args))
    if named.count(None) == len(named):
        return np.empty(0, COLLECTIVE_DTYPE)
    places = [place for place, name in enumerate(named) if name is not None]
    rows = _wider(common[places], COLLECTIVE_DTYPE)
    found = [args[place] for place in places]
    for name in ("collective", "dtype", "group"):
        texts = [getattr(each, name) for each in found]
        rows[name] = [_UNKNOWN if text is None else number(str(text)) for text in texts]
    rows["num_in"] = [to_number(each.num_in) for each in found]
    rows["num_out"] = [to_number(each.num_out) for each in found]
    rows["group_size"] = np.minimum(_ids([each.group_size for each in found]), 1 << 30)
    rows["seq"] = _ids([each.seq for each in found])
    return rows


def _wider(common: Events, dtype: "np.dtype[np.void]") -> Events:
    rows = np.empty(len(common), dtype)
    for name in EVENT_DTYPE.names or ():
        rows[name] = common[name]
    return rows


def _ids(values: Sequence[Number]) -> Numbers:
    """As whole numbers; what is missing, no number or too large is -1."""
    numbers = np.array([to_number(value) for value in values], np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(numbers) < _LARGEST_ID, numbers, _UNKNOWN).astype("i8")
