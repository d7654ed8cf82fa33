"""Cuts the text of a trace into whole events, without reading it character by character.

A trace is one JSON object with a long array `traceEvents`, or that array alone. A block is cut
between two events by looking for the last `}, {"ph"`; a cut that was none, inside a string or an
argument, shows when the block does not decode, and then `split_exactly` finds every event's end.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from diagnostics.language import say

MAX_HEAD_BYTES = 16 << 20
"""More than this before the first event is no trace."""

MAX_EVENT_BYTES = 32 << 20
"""No event is as long as this; a file that never ends one is broken or hostile."""

MAX_TAIL_BYTES = 16 << 20
"""What follows the events is read as far as this."""

UNCERTAIN_BYTES = 1 << 20
"""Text without a cut that looks certain is read exactly, and cut into pieces of this length: it may
consist of very many very small objects."""

_CUT_TRIES = 64
"""A text with more openings than this that are no event's is read exactly."""

_EVENTS = re.compile(rb'"traceEvents"\s*:\s*\[')
_MARK = b'"ph"'
# A string without an end reaches to the end of the text: to look for one from each of its quotes
# would take time by its square.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
BETWEEN = b" \t\r\n,"
"""What may stand between two events."""


class NotATraceError(ValueError):
    """The text is not a trace; one line that says why."""


@dataclass
class TraceText:
    """What surrounds the events, filled while `bodies` is read.

    `head` is the text before the events and `tail` the text after them; both may hold fields.
    `is_cut_short` says that the file ended inside the events.
    """

    head: bytes = b""
    tail: bytes = b""
    is_cut_short: bool = False

    def bodies(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pieces of the array of events, each `{...}, {...}` of whole events, in order.

        Raises:
            NotATraceError: there is no array of events, or one event has no end.
        """
        source = iter(blocks)
        return self.bodies_after_head(self.skip_head(source), source)

    def bodies_after_head(self, first: bytes, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The same where the text before the events was skipped; `first` is what follows it."""
        carried = b""
        for block in chain([first], blocks):
            carried += block
            while cut := last_cut(carried) or _exact_cut(carried):
                yield carried[:cut]
                carried = carried[cut:]
            if len(carried) > MAX_TAIL_BYTES and carried.lstrip(BETWEEN).startswith(b"]"):
                break
            if len(carried) > MAX_EVENT_BYTES:
                raise NotATraceError(
                    say(
                        "an event is longer than {limit} MiB",
                        limit=MAX_EVENT_BYTES >> 20,
                    )
                )
        yield from self._last(carried)

    def skip_head(self, source: Iterator[bytes]) -> bytes:
        """Takes blocks up to the first event; returns what follows there.

        Raises:
            NotATraceError: there is no array of events.
        """
        text = b""
        for block in source:
            text += block
            start = text.lstrip()
            if start[:1] == b"[":
                return start[1:]
            found = _EVENTS.search(text)
            if found:
                self.head = text[: found.start()]
                return text[found.end() :]
            if len(text) > MAX_HEAD_BYTES:
                break
        raise NotATraceError("it has no array of events (`traceEvents`)")

    def _last(self, text: bytes) -> Iterator[bytes]:
        """The events before the end of the array; the rest is the tail."""
        end = last_cut(text)
        if end:
            yield text[:end]
            text = text[end:]
        spans, stop = exact_spans(text)
        closed = text[stop:].lstrip(BETWEEN)
        self.is_cut_short = not closed.startswith(b"]")
        self.tail = b"" if self.is_cut_short else closed[1:]
        if spans:
            yield text[: spans[-1][1]]


def last_cut(text: bytes) -> int:
    """Where the last event begins whose opening looks certain; 0 if none does."""
    end = len(text)
    for _ in range(_CUT_TRIES):
        mark = text.rfind(_MARK, 0, end)
        if mark <= 0:
            break
        brace = text.rfind(b"{", max(0, mark - 4096), mark)
        before = text[max(0, brace - 64) : max(brace, 0)].rstrip()
        if brace > 0 and before.endswith(b",") and before[:-1].rstrip().endswith(b"}"):
            return brace
        end = mark
    return 0


def _exact_cut(text: bytes) -> int:
    """Where the last of the first whole objects ends, in a text that is long; else 0."""
    length = UNCERTAIN_BYTES
    while length < len(text):
        stop = exact_spans(text[:length])[1]
        if stop:
            return stop
        length *= 4
    return 0


def exact_spans(text: bytes) -> tuple[list[tuple[int, int]], int]:
    """Start and end of every whole object, and where the last one ends.

    Reads every string and bracket, hence slow (some 20 MB/s). Stops where the array closes.
    """
    spans: list[tuple[int, int]] = []
    depth = start = stop = 0
    for token in _TOKENS.finditer(text):
        mark = token[0][:1]
        if mark in b"{[":
            if not depth:
                start = token.start()
            depth += 1
        elif mark in b"}]":
            depth -= 1
            if depth < 0:
                break
            if not depth:
                stop = token.end()
                spans.append((start, stop))
    return spans, stop


def split_exactly(body: bytes) -> list[bytes]:
    """Every whole event of a piece by itself."""
    return [body[start:end] for start, end in exact_spans(body)[0]]
