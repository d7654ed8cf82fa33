"""Decodes the pieces of a trace, in this process or in several; the order stays."""

import gc
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

from diagnostics.parsers.trace_columns import Clock, PieceRows, rows_of
from diagnostics.parsers.trace_events import decode
from diagnostics.parsers.trace_parts import Body, listed

Piece = tuple[PieceRows, int]
"""The rows of a piece, and how many of its events could not be read."""

_WAITING = 2
"""Pieces in flight for each process: one in work, one that waits for it."""


def read_pieces(bodies: Iterable[Body], num_processes: int = 1) -> Iterator[Piece]:
    """The rows of each piece of a trace, in order.

    Args:
        bodies: Pieces of whole events.
        num_processes: How many work on them; 1 is this one alone.
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
    if num_processes == 1:
        for body in source:
            yield read_piece(body, clock)
    else:
        yield from _in_parallel(source, clock, num_processes)


def _first(body: Body) -> tuple[Clock | None, Piece]:
    """A piece before the clock is known; without a time it has no rows."""
    with _without_collection():
        events, bad = decode(listed(body))
        clock = Clock.of(events)
        return clock, (rows_of(events, clock or Clock(0.0, is_in_ns=False)), bad)


def read_piece(body: Body, clock: Clock) -> Piece:
    """The rows of one piece."""
    with _without_collection():
        events, bad = decode(listed(body))
        return rows_of(events, clock), bad


def _in_parallel(source: Iterator[Body], clock: Clock, num_processes: int) -> Iterator[Piece]:
    # Forking would copy locks of threads that this process may have; a new one costs 0.3 s.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[Piece]] = deque()
    with ProcessPoolExecutor(num_processes, context) as pool:
        for body in source:
            waiting.append(pool.submit(read_piece, body, clock))
            if len(waiting) >= _WAITING * num_processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
