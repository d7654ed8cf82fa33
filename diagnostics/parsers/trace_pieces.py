"""Decodes the pieces of a trace, in this process or in several; the order stays."""

import gc
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass

from diagnostics.parsers.trace_columns import Clock, PieceRows, rows_of
from diagnostics.parsers.trace_events import decode
from diagnostics.parsers.trace_parts import Body, listed

Piece = tuple[PieceRows, int]
"""The rows of a piece, and how many of its events could not be read."""

_WAITING = 2
"""Pieces in flight for each process: one in work, one that waits for it."""


@dataclass(frozen=True)
class Workers:
    """Processes that decode pieces; `count` of them."""

    pool: Executor
    count: int


def read_pieces(bodies: Iterable[Body], workers: Workers | None = None) -> Iterator[Piece]:
    """The rows of each piece of a trace, in order.

    Args:
        bodies: Pieces of whole events.
        workers: Who works on them; None is this process alone.
    """
    source = iter(bodies)
    clock: Clock | None = None
    for body in source:
        clock, piece = _first(body)
        yield piece
        if clock is not None:
            break
    if clock is None:
        return
    if workers is None:
        for body in source:
            yield read_piece(body, clock)
    else:
        yield from _in_parallel(source, clock, workers)


def _first(body: Body) -> tuple[Clock | None, Piece]:
    """A piece before the clock is known; without a time it has no rows."""
    with _without_collection():
        events, bad = decode(listed(body))
        clock = Clock.of(events)
        return clock, (rows_of(events, clock), bad)


def read_piece(body: Body, clock: Clock) -> Piece:
    """The rows of one piece."""
    with _without_collection():
        events, bad = decode(listed(body))
        return rows_of(events, clock), bad


def _in_parallel(source: Iterator[Body], clock: Clock, workers: Workers) -> Iterator[Piece]:
    waiting: deque[Future[Piece]] = deque()
    try:
        for body in source:
            waiting.append(workers.pool.submit(read_piece, body, clock))
            if len(waiting) >= _WAITING * workers.count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python's cycle collector walks all events again and again: 3/4 of the time otherwise."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
